/* SPDX-License-Identifier: Apache-2.0 */
#include "base/toml_lex.h"

#include <string.h>

#include "base/mem.h"

#undef k3_toml_bad
int k3_toml_bad(const struct k3_toml_lex *l, const char *why)
{
	unsigned line = 1;

	for (const char *s = l->start; s < l->at; s++)
		line += *s == '\n';
	return k3_fail(l->e, K3_FORMAT, "line %u: %s", line, why);
}

#undef k3_toml_too_much
int k3_toml_too_much(const struct k3_toml_lex *l, const char *why)
{
	k3_toml_bad(l, why);
	l->e->code = K3_LIMIT;
	return -1;
}

/* ---- text before it is parsed ------------------------------------------------------------ */

/* Length of the UTF-8 sequence at s (n bytes are left), 0 when it is malformed. */
static size_t utf8_len(const uint8_t *s, size_t n)
{
	uint32_t min = s[0] >= 0xf0 ? 0x10000 : s[0] >= 0xe0 ? 0x800 : 0x80;
	size_t len = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	uint32_t c = s[0] & (0xffu >> (len + 1));

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4 || len > n)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3fu);
	}
	return c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ? 0 : len;
}

static bool is_control(uint8_t c)
{
	return (c < 0x20 && c != '\t' && c != '\n') || c == 0x7f;
}

int k3_toml_clean(struct k3_toml_lex *l, const uint8_t *s, size_t n, char *out)
{
	l->start = l->at = out;
	if (n >= 3 && !memcmp(s, "\xef\xbb\xbf", 3)) {
		s += 3;
		n -= 3;
	}
	while (n) {
		size_t len = utf8_len(s, n);

		if (n >= 2 && s[0] == '\r' && s[1] == '\n') {
			s++;
			n--;
		}
		if (!len || is_control(s[0])) {
			l->at = out;
			return k3_toml_bad(l, len ? "control character" : "malformed UTF-8");
		}
		memcpy(out, s, len);
		out += len;
		s += len;
		n -= len;
	}
	*out = '\0';
	return 0;
}

void k3_toml_skip_blanks(struct k3_toml_lex *l)
{
	l->at += strspn(l->at, " \t");
}

void k3_toml_skip_lines(struct k3_toml_lex *l)
{
	for (;;) {
		l->at += strspn(l->at, " \t\n");
		if (*l->at != '#')
			return;
		l->at += strcspn(l->at, "\n");
	}
}

int k3_toml_end_of_line(struct k3_toml_lex *l)
{
	k3_toml_skip_blanks(l);
	if (*l->at == '#')
		l->at += strcspn(l->at, "\n");
	if (*l->at == '\n')
		l->at++;
	else if (*l->at)
		return k3_toml_bad(l, "unexpected text behind the value");
	return 0;
}

/* ---- strings ----------------------------------------------------------------------------- */

static int add_char(struct k3_toml_lex *l, struct k3_buf *out, uint32_t c)
{
	uint8_t u[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;

	for (size_t i = n; i-- > 1; c >>= 6)
		u[i] = (uint8_t)(0x80 | (c & 0x3f));
	u[0] = (uint8_t)(n == 1 ? c : (0xf00u >> n & 0xff) | c);
	return k3_buf_add(out, u, n, l->e);
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* \uXXXX and \UXXXXXXXX, behind the letter. */
static int unicode_escape(struct k3_toml_lex *l, int digits, struct k3_buf *out)
{
	uint32_t c = 0;

	for (int i = 0; i < digits; i++, l->at++) {
		int d = hex_digit(*l->at);

		if (d < 0)
			return k3_toml_bad(l, "malformed \\u escape");
		c = c << 4 | (uint32_t)d;
	}
	if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return k3_toml_bad(l, "\\u escape is no Unicode character");
	if (!c)
		return k3_toml_bad(l, "U+0000 is not supported in strings");
	return add_char(l, out, c);
}

/* A backslash at the end of a line takes all white space up to the next word with it. */
static bool line_ending_backslash(struct k3_toml_lex *l)
{
	size_t blanks = strspn(l->at, " \t");

	if (l->at[blanks] != '\n')
		return false;
	l->at += strspn(l->at, " \t\n");
	return true;
}

/* Behind the backslash. */
static int escape(struct k3_toml_lex *l, bool multi, struct k3_buf *out)
{
	static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
	const char *which;

	if (multi && line_ending_backslash(l))
		return 0;
	which = *l->at ? strchr(from, *l->at) : NULL;
	if (which) {
		l->at++;
		return k3_buf_add(out, &to[which - from], 1, l->e);
	}
	if (*l->at != 'u' && *l->at != 'U')
		return k3_toml_bad(l, "unknown escape in a string");
	return unicode_escape(l, *l->at++ == 'u' ? 4 : 8, out);
}

/*
 * Up to five quotes in a multi-line string: three end it, those before belong to it.
 * *ended tells; the quotes are consumed.
 */
static int quotes(struct k3_toml_lex *l, char quote, struct k3_buf *out, bool *ended)
{
	size_t n = 0;

	while (n < 5 && l->at[n] == quote)
		n++;
	*ended = n >= 3;
	if (k3_buf_add(out, l->at, *ended ? n - 3 : n, l->e))
		return -1;
	l->at += n;
	return 0;
}

static int string(struct k3_toml_lex *l, bool multi_ok, struct k3_buf *out)
{
	char quote = *l->at;
	bool multi = l->at[1] == quote && l->at[2] == quote, ended = false;
	const char stop[] = { quote, '\n', quote == '"' ? '\\' : '\n', '\0' };

	if (multi && !multi_ok)
		return k3_toml_bad(l, "a key cannot be a multi-line string");
	l->at += multi ? 3 : 1;
	if (multi && *l->at == '\n')
		l->at++;
	while (!ended) {
		size_t n = strcspn(l->at, stop);

		if (k3_buf_add(out, l->at, n, l->e))
			return -1;
		l->at += n;
		if (!*l->at || (*l->at == '\n' && !multi))
			return k3_toml_bad(l, "string without an end");
		if (*l->at == '\\') {
			l->at++;
			if (escape(l, multi, out))
				return -1;
		} else if (*l->at == '\n') {
			if (k3_buf_add(out, l->at++, 1, l->e))
				return -1;
		} else if (multi) {
			if (quotes(l, quote, out, &ended))
				return -1;
		} else {
			l->at++;
			ended = true;
		}
	}
	return 0;
}

int k3_toml_string(struct k3_toml_lex *l, bool multi_ok, char **out)
{
	K3_AUTO_BUF struct k3_buf text = K3_BUF(K3_TOML_SIZE_MAX);

	if (string(l, multi_ok, &text))
		return -1;
	*out = k3_xstrndup(text.p ? (const char *)text.p : "", text.len);
	return 0;
}

/* ---- numbers, dates, words ----------------------------------------------------------------- */

/* Digits of `base` with single underscores between them; the number of characters, 0 = none. */
static size_t digits(const char *s, int base)
{
	size_t n = 0;

	for (;;) {
		int d = hex_digit(s[n]);

		if (d < 0 || d >= base)
			return 0;
		n++;
		if (s[n] == '_') {
			n++;
			continue;
		}
		d = hex_digit(s[n]);
		if (d < 0 || d >= base)
			return n;
	}
}

static int integer(struct k3_toml_lex *l, size_t n, int base, bool negative,
		   struct k3_toml_scalar *v)
{
	uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX, u = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t d;

		if (l->at[i] == '_')
			continue;
		d = (uint64_t)hex_digit(l->at[i]);
		if (u > (limit - d) / (uint64_t)base)
			return k3_toml_bad(l, "integer out of range");
		u = u * (uint64_t)base + d;
	}
	v->kind = K3_TOML_INT;
	v->num = negative ? (int64_t)(0 - u) : (int64_t)u;
	l->at += n;
	return 0;
}

/* Characters of the fraction and exponent behind n digits; *n grows; false = malformed. */
static bool float_tail(const char *s, size_t *n)
{
	size_t more;

	if (s[*n] == '.') {
		more = digits(s + *n + 1, 10);
		if (!more)
			return false;
		*n += 1 + more;
	}
	if ((s[*n] | 0x20) != 'e')
		return true;
	*n += 1;
	if (s[*n] == '+' || s[*n] == '-')
		*n += 1;
	more = digits(s + *n, 10);
	*n += more;
	return more > 0;
}

static int number(struct k3_toml_lex *l, struct k3_toml_scalar *v)
{
	const char *start = l->at;
	bool sign = *l->at == '+' || *l->at == '-', negative = *l->at == '-';
	int base = 10;
	size_t n, m;

	l->at += sign;
	if (!sign && l->at[0] == '0')
		base = l->at[1] == 'x' ? 16 : l->at[1] == 'o' ? 8 : l->at[1] == 'b' ? 2 : 10;
	if (base != 10)
		l->at += 2;
	n = m = digits(l->at, base);
	if (!n || (base == 10 && n > 1 && l->at[0] == '0'))
		return k3_toml_bad(l, "malformed value");
	if (base == 10 && !float_tail(l->at, &m))
		return k3_toml_bad(l, "malformed floating-point number");
	if (m == n)
		return integer(l, n, base, negative, v);
	l->at += m;
	v->kind = K3_TOML_FLOAT;
	v->text = k3_xstrndup(start, (size_t)(l->at - start));
	return 0;
}

/* Exactly n digits with a value in [low, high]. */
static bool field(const char **s, int n, int low, int high, int *out)
{
	int v = 0;

	for (int i = 0; i < n; i++, (*s)++) {
		if (**s < '0' || **s > '9')
			return false;
		v = v * 10 + (**s - '0');
	}
	*out = v;
	return v >= low && v <= high;
}

static bool date(const char **s)
{
	int y, m, d, days;

	if (!field(s, 4, 0, 9999, &y) || *(*s)++ != '-' || !field(s, 2, 1, 12, &m) ||
	    *(*s)++ != '-')
		return false;
	days = m == 2 ? 28 + (y % 4 == 0 && (y % 100 != 0 || y % 400 == 0))
		      : 30 + ((m + (m > 7)) & 1);
	return field(s, 2, 1, days, &d);
}

static bool clock_time(const char **s)
{
	int unused;
	size_t n;

	if (!field(s, 2, 0, 23, &unused) || *(*s)++ != ':' || !field(s, 2, 0, 59, &unused) ||
	    *(*s)++ != ':' || !field(s, 2, 0, 60, &unused))
		return false;
	if (**s != '.')
		return true;
	n = strspn(*s + 1, "0123456789");
	*s += 1 + n;
	return n > 0;
}

static bool zone(const char **s)
{
	int unused;

	if ((**s | 0x20) == 'z') {
		(*s)++;
		return true;
	}
	if (**s != '+' && **s != '-')
		return true; /* a local time */
	(*s)++;
	return field(s, 2, 0, 23, &unused) && *(*s)++ == ':' && field(s, 2, 0, 59, &unused);
}

static bool looks_like_time(const char *s)
{
	size_t n = strspn(s, "0123456789");

	return (n == 4 && s[n] == '-') || (n == 2 && s[n] == ':');
}

static int time_value(struct k3_toml_lex *l, struct k3_toml_scalar *v)
{
	const char *s = l->at;
	bool ok;

	if (s[2] == ':') {
		ok = clock_time(&s);
	} else {
		ok = date(&s);
		if (ok && ((*s | 0x20) == 't' || (*s == ' ' && s[1] >= '0' && s[1] <= '9'))) {
			s++;
			ok = clock_time(&s) && zone(&s);
		}
	}
	if (!ok)
		return k3_toml_bad(l, "malformed date or time");
	v->kind = K3_TOML_TIME;
	v->text = k3_xstrndup(l->at, (size_t)(s - l->at));
	l->at = s;
	return 0;
}

/* true, false, inf, nan.  *n = 0 when it is none of them. */
static size_t keyword(const char *s, struct k3_toml_scalar *v)
{
	size_t sign = *s == '+' || *s == '-';

	if (!strncmp(s, "true", 4) || !strncmp(s, "false", 5)) {
		v->kind = K3_TOML_BOOL;
		v->num = *s == 't';
		return *s == 't' ? 4 : 5;
	}
	if (strncmp(s + sign, "inf", 3) && strncmp(s + sign, "nan", 3))
		return 0;
	v->kind = K3_TOML_FLOAT;
	v->text = k3_xstrndup(s, sign + 3);
	return sign + 3;
}

int k3_toml_word(struct k3_toml_lex *l, struct k3_toml_scalar *v)
{
	size_t n = keyword(l->at, v);

	l->at += n;
	if (n)
		return 0;
	return looks_like_time(l->at) ? time_value(l, v) : number(l, v);
}
