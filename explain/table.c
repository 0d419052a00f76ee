/* SPDX-License-Identifier: Apache-2.0 */
/* What is looked for, in the order in which a pod comes to need it. */
#include <string.h>

#include "base/mem.h"
#include "explain/finding.h"

static const struct explain_check checks[] = {
	/* the node */
	{ "root", "containerd's root", EXPLAIN_STOPS, true, explain_root,
	  "Images in a root that no daemon reads are not there for pods." },
	{ "config", "containerd's configuration", EXPLAIN_STOPS, true, explain_config,
	  "containerd ends at a file that it cannot read." },
	{ "snapshotter", "CRI's snapshotter", EXPLAIN_STOPS, true, explain_snapshotter_set,
	  "CRI looks only at the trees of the snapshotter that it is told to use." },
	{ "pause", "pause image", EXPLAIN_STOPS, true, explain_pause,
	  "Every pod begins with the pause image, by the name that is configured; without it "
	  "containerd asks a registry." },
	/* what the pod asks of the node */
	{ "node-os", "system of the node", EXPLAIN_STOPS, false, explain_node_os,
	  "The scheduler passes over the node, and its kubelet refuses the pod." },
	{ "node-arch", "architecture of the node", EXPLAIN_STOPS, false, explain_node_arch,
	  "The scheduler passes over the node, and its kubelet refuses the pod." },
	{ "runtime-class", "runtime class", EXPLAIN_STOPS, false, explain_runtime_class,
	  "containerd makes no sandbox for a handler that it does not know; a RuntimeClass is "
	  "usually named as its handler." },
	/* the name */
	{ "name", "name of the image", EXPLAIN_STOPS, false, explain_name,
	  "The kubelet does not ask for what is no reference (InvalidImageName)." },
	{ "pull-policy", "unknown pull policy", EXPLAIN_STOPS, false, explain_pull_policy,
	  "The API server refuses such a pod." },
	{ "pull-always", "pull policy Always", EXPLAIN_STOPS, false, explain_pull_always,
	  "The kubelet pulls before each start (ErrImagePull without a network)." },
	{ "pull-latest", "no pull policy and :latest", EXPLAIN_STOPS, false, explain_pull_latest,
	  "The default policy of :latest, and of no tag, is Always; with any other tag it is "
	  "IfNotPresent." },
	{ "pull-never", "pull policy Never", EXPLAIN_STOPS, false, explain_pull_never,
	  "The kubelet does not even try to pull." },
	{ "same-image", "digest under another name", EXPLAIN_STOPS, false, explain_same_image,
	  "CRI finds an image by the names of its records, not by what they lead to." },
	{ "not-normal", "name not written in full", EXPLAIN_STOPS, false, explain_not_normal,
	  "CRI looks for docker.io/library/NAME:latest when it is asked for NAME." },
	{ "case", "capital letters", EXPLAIN_STOPS, false, explain_case,
	  "Names and tags are compared byte by byte." },
	{ "other-digest", "another digest", EXPLAIN_STOPS, false, explain_other_digest,
	  "With a digest in the reference the tag does not count: only that image will do." },
	{ "registry", "another registry", EXPLAIN_STOPS, false, explain_registry,
	  "The registry is a part of the name; mirrors do not change it." },
	{ "tag", "another tag", EXPLAIN_STOPS, false, explain_tag,
	  "Another tag is another image." },
	{ "spelling", "another spelling", EXPLAIN_STOPS, false, explain_spelling,
	  "The kubelet would ask a registry for the name as it is written." },
	{ "namespace", "another namespace of containerd", EXPLAIN_STOPS, false, explain_namespace,
	  "A kubelet sees the namespace k8s.io alone; ctr and nerdctl use \"default\"." },
	{ "absent", "no such image", EXPLAIN_STOPS, false, explain_absent,
	  "The kubelet asks a registry for an image that is not there (ErrImagePull)." },
	/* the image */
	{ "record", "broken record", EXPLAIN_STOPS, false, explain_record,
	  "containerd ends the listing of all images at a record that it cannot read." },
	{ "document", "missing index, manifest or config", EXPLAIN_STOPS, false, explain_document,
	  "CRI does not take in an image whose documents are not all there." },
	{ "damaged", "damaged index, manifest or config", EXPLAIN_STOPS, false, explain_damaged,
	  "CRI does not take in an image whose documents it cannot read." },
	{ "platform", "platform of the image", EXPLAIN_STOPS, false, explain_platform,
	  "CRI does not take in an image that has nothing for the node's platform." },
	{ "variant", "next best platform", EXPLAIN_WARNS, false, explain_variant,
	  "It runs only where the processor and the kernel can do that, too." },
	{ "layers", "missing layers", EXPLAIN_STOPS, false, explain_layers,
	  "containerd cannot unpack layers that it does not have." },
	{ "not-unpacked", "not unpacked", EXPLAIN_WARNS, false, explain_not_unpacked,
	  "The first start takes as long as unpacking does." },
	{ "snapshot", "snapshot that is gone", EXPLAIN_STOPS, false, explain_snapshot,
	  "containerd believes its records and fails when it copies the tree." },
	{ "other-snapshotter", "unpacked for another snapshotter", EXPLAIN_WARNS, false,
	  explain_other_snapshotter,
	  "CRI looks only at the trees of the snapshotter that it is told to use." },
	{ "unmanaged", "not known to CRI", EXPLAIN_WARNS, false, explain_unmanaged,
	  "CRI adopts records without its label when it starts or hears of them." },
	{ "collected", "not pinned", EXPLAIN_WARNS, false, explain_collected,
	  "Images that are collected are not there at the next start." },
	/* the process */
	{ "no-command", "nothing to run", EXPLAIN_STOPS, false, explain_no_command,
	  "containerd refuses the container: no command specified." },
	{ "program", "missing program", EXPLAIN_STOPS, false, explain_program_missing,
	  "The runtime finds no executable file (RunContainerError, StartError)." },
	{ "program-file", "program that is no file", EXPLAIN_STOPS, false, explain_program_file,
	  "The kernel executes regular files only." },
	{ "program-mode", "program that is not executable", EXPLAIN_STOPS, false,
	  explain_program_mode, "The runtime gets \"permission denied\"." },
	{ "program-format", "program that is none", EXPLAIN_STOPS, false, explain_program_format,
	  "The kernel gives back \"exec format error\"." },
	{ "program-machine", "program of another architecture", EXPLAIN_STOPS, false,
	  explain_program_machine,
	  "The kernel gives back \"exec format error\", unless it was taught to emulate." },
	{ "interpreter", "interpreter of a script", EXPLAIN_STOPS, false, explain_interpreter,
	  "The kernel starts what is named behind #!; \"no such file\" is said of the script." },
	{ "loader", "missing loader", EXPLAIN_STOPS, false, explain_loader,
	  "The kernel starts the loader; \"no such file\" is said of the program." },
	{ "loader-machine", "loader of another architecture", EXPLAIN_STOPS, false,
	  explain_loader_machine, "The kernel refuses a loader of another machine." },
	{ "workdir", "working directory", EXPLAIN_STOPS, false, explain_workdir,
	  "The runtime makes one that is missing, and cannot enter a file." },
	{ "user", "unknown user", EXPLAIN_STOPS, false, explain_user,
	  "containerd looks a name up in the image's /etc/passwd; a number it takes as it is." },
	{ "group", "unknown group", EXPLAIN_WARNS, false, explain_group,
	  "containerd looks it up where the client sets no user; a kubelet always sets one." },
	{ "non-root", "runAsNonRoot", EXPLAIN_STOPS, false, explain_non_root,
	  "The kubelet does not create the container (CreateContainerConfigError)." },
	/* remarks */
	{ "volume", "program in a volume", EXPLAIN_NOTE, false, explain_volume,
	  "What volumes hold is not known before they are mounted." },
	{ "pull-secrets", "imagePullSecrets", EXPLAIN_NOTE, false, explain_pull_secrets,
	  "They are for registries." },
};

const struct explain_check *explain_checks(size_t *n)
{
	*n = K3_ARRAY_LEN(checks);
	return checks;
}

const struct explain_check *explain_find(const char *id)
{
	for (size_t k = 0; k < K3_ARRAY_LEN(checks); k++)
		if (!strcmp(checks[k].id, id))
			return &checks[k];
	return NULL;
}
