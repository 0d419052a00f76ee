/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch/helper.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "fetch/keychain.h"
#include "tests/unit/unit.h"

static struct k3_err err;
static const char *dir; /* of the helpers, in PATH */

static char *in_dir(const char *name)
{
	return k3_xasprintf("%s/%s", dir, name);
}

static void begin(void)
{
	if (dir)
		return;
	dir = unit_tmpdir();
	K3_AUTO_FREE char *path = k3_xasprintf("relative:%s:/usr/bin:/bin", dir);

	setenv("PATH", path, 1);
}

static void write_file(const char *name, const char *text)
{
	begin();
	K3_AUTO_FREE char *file = in_dir(name);
	FILE *f = fopen(file, "w");

	if (!f || fputs(text, f) < 0 || fclose(f))
		unit_fail(__FILE__, __LINE__, "cannot write %s", file);
}

/* A shell script as helper "name"; $D is the directory. */
static void helper(const char *name, const char *script)
{
	begin();
	K3_AUTO_FREE char *file = k3_xasprintf("%s/docker-credential-%s", dir, name);
	FILE *f = fopen(file, "w");

	fprintf(f, "#!/bin/sh\nD=%s\n%s\n", dir, script);
	fclose(f);
	chmod(file, 0755);
}

static int run(const char *name, const char *input, struct k3_buf *out, int *status)
{
	const struct helper_call h = {
		.name = name, .verb = "get", .input = input, .len = strlen(input), .limit_ms = 3000
	};

	return helper_run(&h, out, status, &err);
}

static void expect(const char *script, const char *input, const char *printed, int wanted)
{
	struct k3_buf out = K3_BUF(HELPER_ANSWER_MAX);
	int status = -1;

	helper("x", script);
	OK(run("x", input, &out, &status));
	EQ_INT(status, wanted);
	EQ_STR((const char *)out.p, printed);
	k3_buf_release(&out);
}

static void fails(const char *script, const char *why)
{
	struct k3_buf out = K3_BUF(1000);
	int status;

	helper("x", script);
	FAILS(run("x", "r.io", &out, &status), K3_AUTH);
	HAS_STR(err.msg, why);
	HAS_STR(err.msg, "docker-credential-x");
	k3_buf_release(&out);
}

TEST(input_argument_output_status)
{
	expect("cat; echo \" $1 $#\"; exit 3", "r.io", "r.io get 1\n", 3);
	expect("exit 0", "never read", "", 0);
	expect("echo lost >&2; kill -0 $$; umask", "", "0077\n", 0);
}

TEST(input_of_any_length)
{
	size_t n = 300000;
	K3_AUTO_FREE char *much = k3_xcalloc(n + 1, 1);

	memset(much, 'x', n);
	expect("wc -c", much, "300000\n", 0);
	expect("true", much, "", 0);
}

TEST(nothing_is_inherited)
{
	int fd = open("/dev/null", O_RDONLY), high = fcntl(fd, F_DUPFD, 200);

	expect("ls /proc/$$/fd | grep -vx -e 0 -e 1 -e 2 -e 10 -e 255", "", "", 1);
	close(fd);
	close(high);
}

TEST(signals_mean_what_they_usually_do)
{
	signal(SIGPIPE, SIG_IGN);
	fails("kill -PIPE $$; echo alive", "ended by signal 13");
	signal(SIGPIPE, SIG_DFL);
}

TEST(programs_that_are_none)
{
	struct k3_buf out = K3_BUF(1000);
	int status;

	helper("x", "");
	FAILS(run("missing", "", &out, &status), K3_AUTH);
	HAS_STR(err.msg, "docker-credential-missing is not in PATH");
	FAILS(run("../x", "", &out, &status), K3_AUTH);
	K3_AUTO_FREE char *file = in_dir("docker-credential-odd");
	FILE *f = fopen(file, "w");

	fprintf(f, "#!/nonexistent/interpreter\n");
	fclose(f);
	FAILS(run("odd", "", &out, &status), K3_AUTH); /* not executable */
	HAS_STR(err.msg, "not in PATH");
	chmod(file, 0755);
	FAILS(run("odd", "", &out, &status), K3_AUTH);
	HAS_STR(err.msg, "cannot start");
	f = fopen(file, "w");
	fprintf(f, "echo no shell takes this\n");
	fclose(f);
	FAILS(run("odd", "", &out, &status), K3_AUTH);
	HAS_STR(err.msg, "cannot start");
	k3_buf_release(&out);
}

TEST(too_much_and_signals)
{
	fails("yes", "more than the limit of 1000 bytes");
	fails("kill -KILL $$", "ended by signal 9");
}

/* Is the process whose number the script left in that file gone? */
static bool is_gone(const char *name)
{
	K3_AUTO_FREE char *file = in_dir(name);
	FILE *f = fopen(file, "r");
	int pid = 0;

	if (!f || fscanf(f, "%d", &pid) != 1)
		return false;
	fclose(f);
	for (int i = 0; i < 100; i++) {
		K3_AUTO_FREE char *stat = k3_xasprintf("/proc/%d/stat", pid);
		char line[256] = "";

		f = fopen(stat, "r");
		if (!f)
			return true;
		char *got = fgets(line, sizeof(line), f);

		fclose(f);
		if (!got || strstr(line, ") Z "))
			return true;
		usleep(10000);
	}
	return false;
}

TEST(hanging_ones_go_with_their_children)
{
	const struct helper_call h = { .name = "x", .verb = "get", .input = "", .limit_ms = 300 };
	struct k3_buf out = K3_BUF(1000);
	int status;
	uint64_t begin = k3_now_ms();

	helper("x", "sleep 60 & echo $! >$D/child; exec >&-; wait");
	FAILS(helper_run(&h, &out, &status, &err), K3_AUTH);
	HAS_STR(err.msg, "docker-credential-x get: it did not end within 0.3 s");
	CHECK(k3_now_ms() - begin < 2500);
	CHECK(is_gone("child"));
	k3_buf_release(&out);
}

static void interrupt(void *arg)
{
	struct k3_err why;

	usleep(200000);
	k3_fail(&why, K3_CANCELLED, "interrupted");
	k3_cancel_raise(arg, &why);
}

TEST(cancelled)
{
	struct k3_cancel *c = k3_cancel_new();
	const struct helper_call h = { .name = "x", .verb = "get", .input = "", .cancel = c };
	struct k3_buf out = K3_BUF(1000);
	struct k3_thread *t;
	uint64_t begin = k3_now_ms();
	int status;

	helper("x", "echo $$ >$D/self; exec sleep 60");
	OK(k3_thread_start(interrupt, c, &t, &err));
	FAILS(helper_run(&h, &out, &status, &err), K3_CANCELLED);
	CHECK(k3_now_ms() - begin < 1500);
	CHECK(is_gone("self"));
	k3_thread_join(t);
	k3_cancel_free(c);
	k3_buf_release(&out);
}

TEST(a_daemon_may_keep_the_output)
{
	uint64_t begin = k3_now_ms();

	expect("sleep 5 & echo done", "", "done\n", 0);
	CHECK(k3_now_ms() - begin < 2500);
}

/* ---- the protocol ---- */

static const struct keychain_item item = { .helper = "x", .server = "r.io", .limit_ms = 3000 };

static void get(struct keychain *k, const char *user, const char *password, const char *identity)
{
	struct credential c = { 0 };

	OK(keychain_get(k, &item, &c, &err));
	EQ_STR(c.user, user);
	EQ_STR(c.password, password);
	EQ_STR(c.identity, identity);
	credential_release(&c);
}

TEST(answers)
{
	helper("x", "read s; echo "
		    "'{\"ServerURL\":\"'$s'\",\"Username\":\"bob\",\"Secret\":\"a\\u0042\"}'");
	get(NULL, "bob", "aB", NULL);
	helper("x", "echo '{\"Username\":\"<token>\",\"Secret\":\"idt\"}'");
	get(NULL, NULL, NULL, "idt");
	helper("x", "echo credentials not found in native keychain; exit 1");
	get(NULL, NULL, NULL, NULL);
}

static void bad_answer(const char *script, const char *why)
{
	struct credential c = { 0 };

	helper("x", script);
	FAILS(keychain_get(NULL, &item, &c, &err), K3_AUTH);
	HAS_STR(err.msg, why);
	HAS_STR(err.msg, "docker-credential-x get");
	CHECK(!strstr(err.msg, "sekrit") && !strstr(err.hint, "sekrit"));
	credential_release(&c);
}

TEST(bad_answers)
{
	bad_answer("echo sekrit", "no JSON");
	bad_answer("echo '{\"Secret\":sekrit}'", "no JSON");
	bad_answer("true", "no JSON");
	bad_answer("echo '[]'", "without a Username and a Secret");
	bad_answer("echo '{\"Username\":\"bob\",\"Secret\":7}'", "without a Username and a Secret");
	bad_answer("echo sekrit; echo sekrit >&2; exit 2", "failed with status 2");
	bad_answer("printf '{\"Username\":\"sekrit\",\"Secret\":\"'; head -c 100000 /dev/zero | "
		   "tr '\\0' a; echo '\"}'",
		   "longer than the limit");
	bad_answer("yes sekrit", "printed more than");
}

TEST(asked_once)
{
	struct keychain *k = keychain_new();
	struct credential c = { 0 };

	helper("x",
	       "echo >>$D/count; echo '{\"Username\":\"u\",\"Secret\":\"'$(wc -l <$D/count)'\"}'");
	get(k, "u", "1", NULL);
	get(k, "u", "1", NULL);
	get(NULL, "u", "2", NULL);
	keychain_free(k);
	k = keychain_new();
	helper("x", "exit 4");
	FAILS(keychain_get(k, &item, &c, &err), K3_AUTH);
	helper("x", "echo '{\"Username\":\"u\",\"Secret\":\"p\"}'");
	FAILS(keychain_get(k, &item, &c, &err), K3_AUTH);
	HAS_STR(err.msg, "status 4");
	keychain_free(k);
}

static void ask(void *arg)
{
	struct credential c = { 0 };
	struct k3_err e;

	if (keychain_get(arg, &item, &c, &e) || strcmp(c.password, "1") != 0)
		unit_fail(__FILE__, __LINE__, "a thread got something else");
	credential_release(&c);
}

TEST(threads_share_one_call)
{
	struct keychain *k = keychain_new();
	struct k3_thread *t[4];

	helper("x", "rm -f $D/none; echo >>$D/calls; sleep 0.3; "
		    "echo '{\"Username\":\"u\",\"Secret\":\"'$(wc -l <$D/calls)'\"}'");
	for (size_t i = 0; i < K3_ARRAY_LEN(t); i++)
		OK(k3_thread_start(ask, k, &t[i], &err));
	for (size_t i = 0; i < K3_ARRAY_LEN(t); i++)
		k3_thread_join(t[i]);
	keychain_free(k);
}

TEST(store_and_erase)
{
	bool had = false;

	helper("x", "f=$D/kept; case $1 in store) cat >$f;; erase) rm $f;; "
		    "get) if [ -e $f ]; then cat $f; else echo credentials not found in native "
		    "keychain; exit 1; fi;; esac");
	OK(keychain_store(&item, "bob", "a\"b\\c\xc3\xa9", &err));
	get(NULL, "bob", "a\"b\\c\xc3\xa9", NULL);
	OK(keychain_erase(&item, &had, &err));
	CHECK(had);
	get(NULL, NULL, NULL, NULL);
	OK(keychain_erase(&item, &had, &err));
	CHECK(!had);
	FAILS(keychain_store(&item, "bob", "\xff", &err), K3_USAGE);
	helper("x", "cat >/dev/null; exit 1");
	FAILS(keychain_store(&item, "bob", "p", &err), K3_AUTH);
}

/* ---- in auth files ---- */

static const char *auth_file(const char *text)
{
	static char path[256];

	write_file("auth.json", text);
	snprintf(path, sizeof(path), "%s/auth.json", dir);
	return path;
}

static void look(const char *text, const char *user, const char *source)
{
	struct fetch_opts o = { .auth_file = auth_file(text) };
	struct credential c;

	OK(credentials_find(&o, NULL, "r.io", "a/b", &c, &err));
	EQ_STR(c.user, user);
	if (source)
		HAS_STR(c.source ? c.source : "", source);
	else
		EQ_STR(c.source, NULL);
	credential_release(&c);
}

#define EVE "\"auths\":{\"r.io\":{\"auth\":\"ZXZlOmE6Yg\"}}"

TEST(order_within_a_file)
{
	helper("x", "echo '{\"Username\":\"bob\",\"Secret\":\"p\"}'");
	helper("none", "echo credentials not found in native keychain; exit 1");
	look("{\"credHelpers\":{\"r.io\":\"x\"}," EVE "}", "bob", "docker-credential-x");
	look("{\"credHelpers\":{\"r.io\":\"x\"},\"credsStore\":\"none\"}", "bob", "x");
	look("{\"credsStore\":\"x\"," EVE "}", "bob", "docker-credential-x");
	look("{\"credHelpers\":{\"r.io\":\"\"},\"credsStore\":\"x\"," EVE "}", "eve", "/");
	look("{\"credsStore\":\"none\"," EVE "}", "eve", "/");
	look("{\"credsStore\":\"none\"}", NULL, NULL);
	look("{\"credHelpers\":{\"s.io\":\"x\"}}", NULL, NULL);
}

TEST(a_failure_names_file_and_entry)
{
	struct fetch_opts o = { .auth_file = auth_file("{\"credHelpers\":{\"r.io\":\"gone\"}}") };
	struct credential c;

	FAILS(credentials_find(&o, NULL, "r.io", "a", &c, &err), K3_AUTH);
	HAS_STR(err.msg, o.auth_file);
	HAS_STR(err.msg, "credHelpers: \"r.io\": docker-credential-gone is not in PATH");
	HAS_STR(err.hint, "--creds");
	credential_release(&c);
}

/* The default files, as after a move from a desktop. */
TEST(a_general_helper_may_be_missing)
{
	struct fetch_opts o = { 0 };
	struct credential c;

	write_file("config.json", "{\"credsStore\":\"gone\"}");
	setenv("DOCKER_CONFIG", dir, 1);
	setenv("XDG_RUNTIME_DIR", dir, 1);
	unsetenv("REGISTRY_AUTH_FILE");
	OK(credentials_find(&o, NULL, "r.io", "a", &c, &err));
	EQ_STR(c.source, NULL);
	HAS_STR(c.note ? c.note : "", "credsStore: docker-credential-gone is not in PATH");
	credential_release(&c);
	write_file("config.json", "{\"credHelpers\":{\"r.io\":\"gone\"}}");
	FAILS(credentials_find(&o, NULL, "r.io", "a", &c, &err), K3_AUTH);
	credential_release(&c);
}

UNIT_MAIN
