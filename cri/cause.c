/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The words are those of containerd 1.6 to 2.1 and runc 1.1 and 1.3, as seen; no API tells more.
 * docs/cri.md has whole messages.
 */
#include "cri/cause.h"

#include <string.h>

#include "base/mem.h"

static const struct {
	const char *name, *text, *hint;
} causes[] = {
	[CRI_CAUSE_NONE] = { "", "", "" },
	[CRI_CAUSE_NO_IMAGE] = { "no-image", "the image is not there",
				 "k3simg preload puts it there; k3simg list shows what is" },
	[CRI_CAUSE_PLATFORM] = { "platform",
				 "the image is there, but not for this machine's architecture",
				 "preload it without --platform, or with the platform of this "
				 "machine" },
	[CRI_CAUSE_INCOMPLETE] = { "incomplete",
				   "the image is named, but its manifest or config is missing",
				   "k3simg verify tells what is missing, k3simg repair mends it" },
	[CRI_CAUSE_NOT_UNPACKED] = { "not-unpacked",
				     "the image is not unpacked and its layers are not there",
				     "preload it for the snapshotter that containerd's "
				     "configuration names (native)" },
	[CRI_CAUSE_NO_PAUSE] = { "no-pause-image",
				 "the pause image, which every pod needs, is not there",
				 "k3simg preload puts it there unless --pause says otherwise" },
	[CRI_CAUSE_NO_NETWORK] = { "no-network", "there is no network for pods: CNI is not ready",
				   "without --pod-network the pod uses the network of the host" },
	[CRI_CAUSE_NO_COMMAND] = { "no-command", "the image has neither entrypoint nor command",
				   "give it a command behind \"--\"" },
	[CRI_CAUSE_NO_ENTRYPOINT] = { "no-entrypoint", "the program to start is not in the image",
				      "look at the entrypoint and the command of the image, or "
				      "what you gave behind \"--\"" },
	[CRI_CAUSE_NO_INTERPRETER] = { "no-interpreter",
				       "the program to start needs an interpreter or loader that "
				       "is not in the image",
				       "look at the first line of a script; a program linked "
				       "for another libc needs its loader" },
	[CRI_CAUSE_EXEC_FORMAT] = { "exec-format",
				    "the program to start is built for another architecture, "
				    "or is no program",
				    "preload the image for the platform of this machine" },
	[CRI_CAUSE_NO_PERMISSION] = { "no-permission",
				      "the program to start is not executable, or its user may "
				      "not run it",
				      "look at its mode, and at the user of the image" },
	[CRI_CAUSE_USER] = { "user", "the user or group of the image is not in its /etc/passwd",
			     "an image without /etc/passwd needs its user as a number" },
	[CRI_CAUSE_RUNTIME] = { "runtime", "the container runtime failed",
				"containerd's log has more" },
	[CRI_CAUSE_EXITED] = { "exited", "the container ended with an error",
			       "its output tells why; it may need arguments, environment or "
			       "volumes that its pod has" },
	[CRI_CAUSE_ENDED] = { "ended", "the pod ended before the container was started",
			      "a kubelet ends pods that it does not know: try again; else the "
			      "pause image does not run" },
	[CRI_CAUSE_TIMEOUT] = { "timeout", "it took too long",
				"--timeout allows more; containerd's log may tell what it waits "
				"for" },
	[CRI_CAUSE_OTHER] = { "other", "containerd refused", "containerd's log has more" },
};

_Static_assert(K3_ARRAY_LEN(causes) == CRI_CAUSES, "each cause has its words");

const char *cri_cause_name(enum cri_cause c)
{
	return causes[c].name;
}

const char *cri_cause_text(enum cri_cause c)
{
	return causes[c].text;
}

const char *cri_cause_hint(enum cri_cause c)
{
	return causes[c].hint;
}

const char *cri_step_name(enum cri_step s)
{
	static const char *const names[CRI_STEPS] = {
		[CRI_STEP_IMAGE] = "image",     [CRI_STEP_SANDBOX] = "sandbox",
		[CRI_STEP_CREATE] = "create",   [CRI_STEP_START] = "start",
		[CRI_STEP_RUNNING] = "running", [CRI_STEP_REMOVED] = "removed",
	};

	return names[s];
}

/* ---- errors ------------------------------------------------------------------------- */

struct pattern {
	const char *all[3]; /* the message has every one of them */
	enum cri_cause cause;
};

/* While the sandbox is made the image of the user plays no part: what runs is pause. */
static const struct pattern sandbox_patterns[] = {
	{ { "failed to get sandbox image" }, CRI_CAUSE_NO_PAUSE },
	{ { "failed to setup network for sandbox" }, CRI_CAUSE_NO_NETWORK },
	{ { "cni plugin not initialized" }, CRI_CAUSE_NO_NETWORK },
	{ { "error unpacking image" }, CRI_CAUSE_NO_PAUSE },
	{ { "OCI runtime" }, CRI_CAUSE_RUNTIME },
	{ { "failed to start shim" }, CRI_CAUSE_RUNTIME },
	{ { "failed to create containerd task" }, CRI_CAUSE_RUNTIME },
};

/* In this order: what is special comes first. */
static const struct pattern container_patterns[] = {
	{ { "failed to resolve image", "not found" }, CRI_CAUSE_NO_IMAGE },
	{ { "error unpacking image" }, CRI_CAUSE_NOT_UNPACKED },
	{ { "parent snapshot", "does not exist" }, CRI_CAUSE_NOT_UNPACKED },
	{ { "no command specified" }, CRI_CAUSE_NO_COMMAND },
	{ { "no users found" }, CRI_CAUSE_USER },
	{ { "no groups found" }, CRI_CAUSE_USER },
	{ { "unable to find user" }, CRI_CAUSE_USER },
	{ { "unable to find group" }, CRI_CAUSE_USER },
	{ { "mount callback failed", "etc/passwd" }, CRI_CAUSE_USER },
	{ { "mount callback failed", "etc/group" }, CRI_CAUSE_USER },
	{ { "failed to find sandbox id" }, CRI_CAUSE_ENDED },
	{ { "an error occurred when try to find sandbox" }, CRI_CAUSE_ENDED },
	{ { "sandbox container", "is not running" }, CRI_CAUSE_ENDED },
	{ { "failed to get sandbox container task" }, CRI_CAUSE_ENDED },
	{ { "an error occurred when try to find container" }, CRI_CAUSE_ENDED },
	/* the runtime itself, not the program in the container, is what was not found */
	{ { "unable to retrieve OCI runtime error" }, CRI_CAUSE_RUNTIME },
	{ { "failed to start shim" }, CRI_CAUSE_RUNTIME },
	{ { "exec format error" }, CRI_CAUSE_EXEC_FORMAT },
	{ { "exec: ", "executable file not found in $PATH" }, CRI_CAUSE_NO_ENTRYPOINT },
	{ { "exec: ", "no such file or directory" }, CRI_CAUSE_NO_ENTRYPOINT },
	{ { "exec: ", "permission denied" }, CRI_CAUSE_NO_PERMISSION },
	{ { "exec: ", "is a directory" }, CRI_CAUSE_NO_PERMISSION },
	{ { "OCI runtime" }, CRI_CAUSE_RUNTIME },
	{ { "failed to create containerd task" }, CRI_CAUSE_RUNTIME },
	{ { "failed to start containerd task" }, CRI_CAUSE_RUNTIME },
};

static bool matches(const struct pattern *p, const char *message)
{
	for (size_t i = 0; i < K3_ARRAY_LEN(p->all) && p->all[i]; i++)
		if (!strstr(message, p->all[i]))
			return false;
	return true;
}

static enum cri_cause find(const struct pattern *p, size_t n, const char *message)
{
	for (size_t i = 0; i < n; i++)
		if (matches(&p[i], message))
			return p[i].cause;
	return CRI_CAUSE_OTHER;
}

enum cri_cause cri_cause_of_error(enum cri_step step, const char *message)
{
	if (step <= CRI_STEP_SANDBOX)
		return find(sandbox_patterns, K3_ARRAY_LEN(sandbox_patterns), message);
	return find(container_patterns, K3_ARRAY_LEN(container_patterns), message);
}

/* ---- exits -------------------------------------------------------------------------- */

/*
 * runc hands over to the program by execve; when that fails nobody is left to tell but runc's
 * own process in the container, which writes "exec PATH: WHY" to its output and ends with 1
 * (runc 1.1) or 255 (1.2 and later).
 */
enum cri_cause cri_cause_of_exit(int code, const char *log)
{
	static const struct {
		const char *why;
		enum cri_cause cause;
	} ends[] = {
		{ ": exec format error", CRI_CAUSE_EXEC_FORMAT },
		{ ": no such file or directory", CRI_CAUSE_NO_INTERPRETER },
		{ ": permission denied", CRI_CAUSE_NO_PERMISSION },
	};

	if (code == 0)
		return CRI_CAUSE_NONE;
	if ((code != 1 && code != 255) || !log || strncmp(log, "exec ", 5) != 0)
		return CRI_CAUSE_EXITED;
	size_t line = strcspn(log, "\n");

	/* The one line that there is: a program of that name may say such things among others. */
	if (log[line] && log[line + 1])
		return CRI_CAUSE_EXITED;
	for (size_t i = 0; i < K3_ARRAY_LEN(ends); i++) {
		size_t n = strlen(ends[i].why);

		if (line >= n && !strncmp(log + line - n, ends[i].why, n))
			return ends[i].cause;
	}
	return CRI_CAUSE_EXITED;
}
