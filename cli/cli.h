/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands share: the only folder that prints. */
#ifndef K3_CLI_CLI_H
#define K3_CLI_CLI_H

#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/json.h"
#include "base/thread.h"
#include "cli/opts.h"

#define CLI_SCHEMA_VERSION 1u /* of every JSON document printed */
#define CLI_PARTIAL_EXIT 9    /* some images failed and the others are in place */

/* What main() hands to every command. */
struct cli {
	struct k3_cancel *cancel; /* raised by SIGINT, SIGTERM, SIGHUP; NULL for a plugin */
	const char *self;         /* what the program was called as */
};

struct help_request;

/* argv[0] is the first word behind the command's name.  Returns the exit status. */
struct command {
	const char *name, *alias;
	const char *args;    /* synopsis behind the name */
	const char *summary; /* one line */
	int (*run)(const struct cli *c, const struct command *cmd, int argc, char **argv);
	/* What --help is to tell; NULL = the help for people.  Set in a copy, see cli/help.h. */
	const struct help_request *help;
};

int cmd_preload(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_fetch(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_list(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_inspect(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_tree(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_du(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_plan(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_verify(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_repair(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_tag(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_pin(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_unpin(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_rm(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_prune(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_unpack(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_bundle(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_login(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_logout(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_config(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_setup(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_cni(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_oci_runtime(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_doctor(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_explain(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_version(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_completion(const struct cli *c, const struct command *cmd, int argc, char **argv);
int cmd_help(const struct cli *c, const struct command *cmd, int argc, char **argv);

/* "k3simg: error: <msg>" and "hint: <hint>" on stderr; returns the exit status. */
int cli_error(const struct k3_err *e);
/* The same under the name of an image. */
void cli_image_error(const char *image, const struct k3_err *e);
/*
 * Tells of one command what was asked for: usage, text and options for people, or what man pages
 * and completions are made of.
 *
 * text: paragraphs, separated by empty lines and wrapped here.  A line like "Examples:" before
 * indented lines begins a section.  In one, two blanks begin a row, "  TERM  what it is", more
 * blanks go on with it; in "Examples:" the lines are commands, with remarks behind two blanks or
 * more.
 */
void cli_help(const struct command *cmd, const char *text, const struct opt *opts);
/* Ends the document and writes it to stdout.  Returns 0, or the exit status. */
int cli_put_json(struct k3_jw *w);
/* Flushes stdout; status, or 1 with a message when what was printed did not get out. */
int cli_finish(int status);

/*
 * Text of a store or a registry as it may be shown: k3_escape, in full; the caller's.  Names in a
 * store are any bytes, and a whole path is worth its length.
 */
char *cli_safe(const char *s) __attribute__((returns_nonnull));

/* Decimal units as docker, crictl and nerdctl print them: "131MB", "7.4kB".  size >= 16. */
void cli_size(uint64_t bytes, char *out, size_t size);
/* "2025-01-31T12:00:00Z" of unix seconds; false, and "", for 0. */
#define CLI_TIME_MAX 32
bool cli_time(int64_t seconds, char out[CLI_TIME_MAX]);
/* "1.2s", "850ms", "2m03s".  size >= 16. */
void cli_duration(uint64_t ms, char *out, size_t size);

/* "3": a decimal number and nothing else, from low to high; the option's name is for the message.
 */
K3_MUST int cli_parse_count(const char *option, const char *text, unsigned low, unsigned high,
			    unsigned *out, struct k3_err *e);
/* "16MiB", "500M", "0": as in Kubernetes K, M, G are powers of 1000 and Ki, Mi, Gi of 1024. */
K3_MUST int cli_parse_size(const char *option, const char *text, uint64_t *out, struct k3_err *e);
/* "90", "90s", "500ms", "5m", "1h" in milliseconds, from low to high (both in whole units). */
K3_MUST int cli_parse_time(const char *option, const char *text, unsigned low, unsigned high,
			   unsigned *ms, struct k3_err *e);

#endif
