/* SPDX-License-Identifier: Apache-2.0 */
/* Causes, out of messages that real containerds gave (1.6.20 with runc 1.1, 2.1.9 with runc 1.3).
 */
#include "tests/unit/unit.h"

#include "base/mem.h"
#include "cri/cause.h"

#define SHIM "failed to create containerd task: failed to create shim task: "
#define RUNC                                                                                       \
	SHIM "OCI runtime create failed: runc create failed: unable to start container process: "
#define INIT RUNC "error during container init: "
#define MOUNT "failed to create containerd container: mount callback failed on /tmpmounts/m1: "
#define PULL                                                                                       \
	"failed to get sandbox image \"registry/pause:3.6\": failed to pull image "                \
	"\"registry/pause:3.6\": failed to pull and unpack image \"registry/pause:3.6\": failed "  \
	"to resolve reference \"registry/pause:3.6\": failed to do request: Head "                 \
	"\"https://registry/v2/pause/manifests/3.6\": dial tcp: connection refused"
#define CHECKPOINT "failed to check if this is a checkpoint image: "

static const struct {
	enum cri_step step;
	enum cri_cause cause;
	const char *message;
} seen[] = {
	{ CRI_STEP_SANDBOX, CRI_CAUSE_NO_PAUSE, PULL },
	{ CRI_STEP_SANDBOX, CRI_CAUSE_NO_PAUSE, "failed to start sandbox \"286b3d56f610\": " PULL },
	{ CRI_STEP_SANDBOX, CRI_CAUSE_NO_NETWORK,
	  "failed to setup network for sandbox \"7c17f2a71493\": cni plugin not initialized" },
	{ CRI_STEP_SANDBOX, CRI_CAUSE_NO_NETWORK,
	  "failed to setup network for sandbox \"7c17f2a71493\": plugin type=\"bridge\" failed "
	  "(add): failed to find plugin \"bridge\" in path [/opt/cni/bin]" },
	/* pause's own entrypoint is nothing that the image asked for can help */
	{ CRI_STEP_SANDBOX, CRI_CAUSE_RUNTIME,
	  RUNC "exec: \"/pause\": stat /pause: no such file or directory: unknown" },
	{ CRI_STEP_SANDBOX, CRI_CAUSE_RUNTIME,
	  SHIM "OCI runtime create failed: runc create failed: expected cgroupsPath to be of "
	       "format \"slice:prefix:name\" for systemd cgroups, got \"/k8s.io/1\" instead" },
	{ CRI_STEP_SANDBOX, CRI_CAUSE_OTHER, "name \"x_k3simg_x_0\" is reserved for \"1\"" },
	{ CRI_STEP_CREATE, CRI_CAUSE_NO_IMAGE,
	  "failed to resolve image \"registry/none:1\": not found" },
	{ CRI_STEP_CREATE, CRI_CAUSE_NO_IMAGE,
	  CHECKPOINT "failed to resolve image \"registry/none:1\": not found" },
	{ CRI_STEP_CREATE, CRI_CAUSE_NOT_UNPACKED,
	  "failed to create containerd container: error unpacking image: failed to extract layer "
	  "sha256:a4bd: failed to get reader from content store: content digest sha256:191c: "
	  "not found" },
	{ CRI_STEP_CREATE, CRI_CAUSE_NOT_UNPACKED,
	  "failed to create containerd container: error unpacking image: apply layer error for "
	  "\"registry/multi:1\": failed to extract layer sha256:a4bd: failed to get reader from "
	  "content store: content digest sha256:191c: not found" },
	{ CRI_STEP_CREATE, CRI_CAUSE_NO_COMMAND,
	  "failed to generate container \"60d5\" spec: failed to generate spec: no command "
	  "specified" },
	{ CRI_STEP_CREATE, CRI_CAUSE_USER, MOUNT "no users found" },
	{ CRI_STEP_CREATE, CRI_CAUSE_USER,
	  MOUNT "open /tmpmounts/m1/etc/passwd: no such file or directory" },
	{ CRI_STEP_CREATE, CRI_CAUSE_ENDED, "failed to find sandbox id \"1\": not found" },
	{ CRI_STEP_START, CRI_CAUSE_ENDED, "sandbox container \"1\" is not running" },
	{ CRI_STEP_START, CRI_CAUSE_NO_ENTRYPOINT,
	  RUNC "exec: \"/nope\": stat /nope: no such file or directory: unknown" },
	{ CRI_STEP_START, CRI_CAUSE_NO_ENTRYPOINT,
	  INIT "exec: \"/nope\": stat /nope: no such file or directory" },
	{ CRI_STEP_START, CRI_CAUSE_NO_ENTRYPOINT,
	  RUNC "exec: \"nope\": executable file not found in $PATH: unknown" },
	{ CRI_STEP_START, CRI_CAUSE_NO_ENTRYPOINT,
	  INIT "exec: \"nope\": executable file not found in $PATH" },
	{ CRI_STEP_START, CRI_CAUSE_NO_PERMISSION,
	  RUNC "exec: \"/etc/passwd\": permission denied: unknown" },
	{ CRI_STEP_START, CRI_CAUSE_NO_PERMISSION,
	  INIT "exec: \"/etc/passwd\": permission denied" },
	{ CRI_STEP_START, CRI_CAUSE_NO_PERMISSION, INIT "exec: \"/etc\": is a directory" },
	{ CRI_STEP_START, CRI_CAUSE_RUNTIME, INIT "mkdir /etc/passwd: not a directory" },
	{ CRI_STEP_START, CRI_CAUSE_RUNTIME,
	  SHIM "OCI runtime create failed: unable to retrieve OCI runtime error (open log.json: no "
	       "such file or directory): exec: \"runc\": executable file not found in $PATH" },
	{ CRI_STEP_START, CRI_CAUSE_RUNTIME,
	  RUNC "can't get final child's PID from pipe: EOF: unknown" },
	{ CRI_STEP_START, CRI_CAUSE_OTHER, "" },
};

TEST(messages_that_were_seen)
{
	for (size_t i = 0; i < K3_ARRAY_LEN(seen); i++) {
		enum cri_cause got = cri_cause_of_error(seen[i].step, seen[i].message);

		if (got != seen[i].cause)
			unit_fail(__FILE__, __LINE__, "\"%s\" is \"%s\", want \"%s\"",
				  seen[i].message, cri_cause_name(got),
				  cri_cause_name(seen[i].cause));
	}
}

TEST(exits)
{
	static const char foreign[] = "exec /foreign: exec format error\n";

	EQ_INT(cri_cause_of_exit(0, foreign), CRI_CAUSE_NONE);
	EQ_INT(cri_cause_of_exit(1, foreign), CRI_CAUSE_EXEC_FORMAT);   /* runc 1.1 */
	EQ_INT(cri_cause_of_exit(255, foreign), CRI_CAUSE_EXEC_FORMAT); /* runc 1.3 */
	EQ_INT(cri_cause_of_exit(1, "exec /foreign: exec format error"), CRI_CAUSE_EXEC_FORMAT);
	EQ_INT(cri_cause_of_exit(255, "exec /script: no such file or directory\n"),
	       CRI_CAUSE_NO_INTERPRETER);
	EQ_INT(cri_cause_of_exit(255, "exec /x: permission denied\n"), CRI_CAUSE_NO_PERMISSION);
}

TEST(a_program_that_talks_like_runc_is_not_runc)
{
	EQ_INT(cri_cause_of_exit(3, "exec /foreign: exec format error\n"), CRI_CAUSE_EXITED);
	EQ_INT(cri_cause_of_exit(1, "first\nexec /a: exec format error\n"), CRI_CAUSE_EXITED);
	EQ_INT(cri_cause_of_exit(1, "exec /a: exec format error\nmore\n"), CRI_CAUSE_EXITED);
	EQ_INT(cri_cause_of_exit(1, "exec "), CRI_CAUSE_EXITED);
	EQ_INT(cri_cause_of_exit(1, ""), CRI_CAUSE_EXITED);
	EQ_INT(cri_cause_of_exit(137, NULL), CRI_CAUSE_EXITED);
}

TEST(every_cause_and_step_has_its_words)
{
	for (int a = CRI_CAUSE_NONE + 1; a < CRI_CAUSES; a++) {
		CHECK(*cri_cause_name((enum cri_cause)a));
		CHECK(*cri_cause_text((enum cri_cause)a));
		CHECK(*cri_cause_hint((enum cri_cause)a));
		CHECK(strlen(cri_cause_hint((enum cri_cause)a)) < K3_ERR_HINT_MAX);
		for (int b = a + 1; b < CRI_CAUSES; b++)
			CHECK(strcmp(cri_cause_name((enum cri_cause)a),
				     cri_cause_name((enum cri_cause)b)) != 0);
	}
	for (int s = 0; s < CRI_STEPS; s++)
		CHECK(*cri_step_name((enum cri_step)s));
}

UNIT_MAIN
