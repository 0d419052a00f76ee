/* SPDX-License-Identifier: Apache-2.0 */
/* What would run: program, loader, working directory, user. */
#include <string.h>

#include "base/mem.h"
#include "explain/finding.h"

#define NOBODY 65534u /* the user that is nobody, in every distribution */

/* Whether it is this that the program lacks; then there is a fix, too. */
static bool is(const struct explain_facts *f, enum program_state state)
{
	return f->image.tree && f->program.state == state;
}

/* Who says what is to run. */
static const char *whose(const struct explain_facts *f)
{
	if (f->from_args)
		return "the first argument of the pod";
	return f->from_pod ? "the command of the pod" : "the program of the image";
}

/* ---- the program ---------------------------------------------------------------------------- */

void explain_no_command(const struct explain_facts *f, struct explain_finding *out)
{
	if (!f->image.read || f->word || f->pod->role == KUBE_VOLUME)
		return;
	explain_say(out, EXPLAIN_STOPS, "neither the image nor its pod says what is to run");
	explain_fix_member(f, out, "command", "[\"/bin/sh\", \"-c\", \"sleep infinity\"]");
}

void explain_program_missing(const struct explain_facts *f, struct explain_finding *out)
{
	const char *path = f->pod->path.s ? f->pod->path.s : f->image.process.path;

	if (!is(f, PROGRAM_MISSING))
		return;
	if (strchr(f->word, '/'))
		explain_say(out, EXPLAIN_STOPS, "%s, \"%s\", is not in the image", whose(f),
			    f->word);
	else
		explain_say(out, EXPLAIN_STOPS, "%s, \"%s\", is in no directory of PATH: %s",
			    whose(f), f->word, path ? path : PROGRAM_PATH);
	explain_fix_program(f, out);
}

void explain_program_file(const struct explain_facts *f, struct explain_finding *out)
{
	if (!is(f, PROGRAM_NO_FILE))
		return;
	explain_say(out, EXPLAIN_STOPS, "%s, \"%s\", is a directory or no regular file", whose(f),
		    f->word);
	explain_fix_program(f, out);
}

void explain_program_mode(const struct explain_facts *f, struct explain_finding *out)
{
	if (!is(f, PROGRAM_NO_PERMISSION))
		return;
	explain_say(out, EXPLAIN_STOPS, "%s, \"%s\", is not executable%s%s", whose(f), f->word,
		    *f->user ? " for user " : "", f->user);
	explain_fix_program(f, out);
}

void explain_program_format(const struct explain_facts *f, struct explain_finding *out)
{
	if (!is(f, PROGRAM_NO_FORMAT))
		return;
	explain_say(out, EXPLAIN_STOPS, "%s, %s, is neither an ELF program nor a script", whose(f),
		    f->program.path);
	explain_fix_program(f, out);
}

void explain_program_machine(const struct explain_facts *f, struct explain_finding *out)
{
	char have[64];

	if (!is(f, PROGRAM_FOREIGN))
		return;
	oci_platform_format(&f->node->platform, have, sizeof(have));
	explain_say(out, EXPLAIN_STOPS, "%s, %s, is built for %s, and the node is %s", whose(f),
		    f->program.path, f->program.machine, have);
	if (f->alternative) {
		explain_fix_program(f, out);
	} else {
		K3_AUTO_FREE char *words = k3_xasprintf(" --platform %s", have);

		explain_fix_store(f, out, "preload", words, f->pod->image.s);
	}
}

void explain_interpreter(const struct explain_facts *f, struct explain_finding *out)
{
	if (!is(f, PROGRAM_NO_INTERPRETER))
		return;
	explain_say(out, EXPLAIN_STOPS, "%s, %s, is a script, and its interpreter %s %s", whose(f),
		    f->program.path, f->program.other,
		    f->program.carriage ? "is not in the image: its first line ends as on Windows"
					: "is not in the image or does not run here");
	explain_fix_program(f, out);
}

void explain_loader(const struct explain_facts *f, struct explain_finding *out)
{
	if (!is(f, PROGRAM_NO_LOADER))
		return;
	explain_say(out, EXPLAIN_STOPS,
		    "%s, %s, needs the loader %s, which is not in the image: it is linked for "
		    "another C library",
		    whose(f), f->program.path, f->program.other);
	explain_fix_program(f, out);
}

void explain_loader_machine(const struct explain_facts *f, struct explain_finding *out)
{
	if (!is(f, PROGRAM_FOREIGN_LOADER))
		return;
	explain_say(out, EXPLAIN_STOPS, "%s, %s, has the loader %s, which is built for %s",
		    whose(f), f->program.path, f->program.other, f->program.machine);
	explain_fix_program(f, out);
}

void explain_workdir(const struct explain_facts *f, struct explain_finding *out)
{
	const struct kube_text *said = &f->pod->workdir;

	if (!f->workdir_file)
		return;
	explain_say(out, EXPLAIN_STOPS, "the working directory %s is no directory in the image",
		    f->workdir);
	if (said->s)
		explain_fix_replace(f, out, said->line, said->s, "/", false);
	else
		explain_fix_member(f, out, "workingDir", "\"/\"");
}

/* ---- the user ------------------------------------------------------------------------------- */

void explain_user(const struct explain_facts *f, struct explain_finding *out)
{
	if (!f->user_looked_up || f->user_found)
		return;
	explain_say(out, EXPLAIN_STOPS, "the user of the image, \"%s\", is not in its /etc/passwd",
		    f->user);
	explain_fix_user(f, out, NOBODY);
}

void explain_group(const struct explain_facts *f, struct explain_finding *out)
{
	/* The kubelet passes on the user alone; other clients of CRI leave it to containerd. */
	if (!f->user_looked_up || f->group_found || !f->user_found)
		return;
	explain_say(out, EXPLAIN_WARNS,
		    "the group of the image's user \"%s\" is not in its /etc/group", f->user);
	explain_fix_user(f, out, f->uid_known && f->uid ? f->uid : NOBODY);
}

void explain_non_root(const struct explain_facts *f, struct explain_finding *out)
{
	if (f->pod->non_root != KUBE_YES || !f->image.read || f->pod->role == KUBE_VOLUME)
		return;
	if (!f->user_numeric)
		explain_say(out, EXPLAIN_STOPS,
			    "runAsNonRoot is set, and the user of the image is a name, \"%s\": the "
			    "kubelet cannot tell that it is not root",
			    f->user);
	else if (!f->uid)
		explain_say(out, EXPLAIN_STOPS, "runAsNonRoot is set, and %s is root",
			    f->pod->user.s ? "runAsUser" : "the user of the image");
	else
		return;
	explain_fix_user(f, out, f->uid_known && f->uid ? f->uid : NOBODY);
}
