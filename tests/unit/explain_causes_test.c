/* SPDX-License-Identifier: Apache-2.0 */
/* Each cause on facts as they are put: what it says, and the command that it names. */
#include "tests/unit/unit.h"

#include <stdlib.h>

#include "base/mem.h"
#include "explain/finding.h"

static char root[] = "/srv/root", sysroot[] = "", host[] = "docker.io", repo[] = "library/nginx",
	    tag[] = "1", latest[] = "latest", name[] = "docker.io/library/nginx:1",
	    other[] = "docker.io/library/nginx:2", spaces[] = "default", trouble[] = "trouble",
	    offers[] = "linux/s390x", native[] = "native", overlayfs[] = "overlayfs",
	    config_file[] = "/etc/c.toml", empty[] = "", shell[] = "/bin/sh", app[] = "app:staff",
	    entry[] = "/entry", loader[] = "/lib/ld.so", tree[] = "/tree", runc[] = "runc",
	    lower[] = "nginx", pause_image[] = "pause:1", path[] = "/bin";
static char *entrypoint[] = { entry };

static const char manifest[] = "apiVersion: v1\n"
			       "kind: Pod\n"
			       "spec:\n"
			       "  containers:\n"
			       "  - image: nginx:1\n"
			       "    imagePullPolicy: Always\n"
			       "    command: [\"run\"]\n"
			       "    securityContext:\n"
			       "      runAsNonRoot: true\n"
			       "  - {image: \"nginx:1\", securityContext: {runAsNonRoot: true}}\n";

struct sound {
	struct explain_node node;
	struct kube_container pod;
	struct kube_text command;
	struct explain_facts f;
};

/*
 * A container that would start: the first one of the manifest, but that nothing is said of it
 * beyond the image.  Nothing of it is released: it borrows everything.
 */
static struct explain_facts *sound(struct sound *s)
{
	*s = (struct sound){ 0 };
	s->node = (struct explain_node){
		.d = { .sysroot = sysroot,
		       .root = root,
		       .config_file = config_file,
		       .config_read = true,
		       .store = DOCTOR_STORE_OFFLINE,
		       .pause_stored = true,
		       .pause_unpacked = true,
		       .pause_pinned = true,
		       .config = { .file = config_file,
				   .pause = pause_image,
				   .snapshotter = native,
				   .cri = { .version = 3 } },
		       .space = { .bytes = 100, .free = 20 },
		       .host = { .kubelet = { .present = true, .gc_high = 85 } } },
		.view = (struct imp_view *)s, /* only that it is there */
	};
	oci_platform_host(&s->node.platform);
	s->pod = (struct kube_container){ .role = KUBE_MAIN,
					  .kind = "Pod",
					  .object = "",
					  .name = "",
					  .image = { "nginx:1", 5 } };
	s->command = (struct kube_text){ "run", 7 };
	s->f = (struct explain_facts){
		.node = &s->node,
		.pod = &s->pod,
		.manifest = true,
		.file = "pod.yaml",
		.text = manifest,
		.text_len = strlen(manifest),
		.ref = { .host = host, .repo = repo, .tag = tag },
		.name = name,
		.image = { .stored = true,
			   .managed = true,
			   .pinned = true,
			   .read = true,
			   .layers = 3,
			   .unpacked = true,
			   .for_configured = true,
			   .snapshotters = native,
			   .tree = tree,
			   .process = { .entrypoint = { entrypoint, 1 },
					.user = empty,
					.workdir = empty } },
		.word = entry,
		.workdir = "",
		.program = { .state = PROGRAM_OK, .path = entry },
		.user = "",
		.user_looked_up = true,
		.user_found = true,
		.group_found = true,
		.user_numeric = true,
		.uid_known = true,
	};
	return &s->f;
}

/* It finds this, with these parts; fix = NULL: none. */
static void is(const struct explain_facts *f, const char *id, enum explain_state state,
	       const char *part, const char *fix)
{
	const struct explain_check *c = explain_find(id);
	struct explain_finding found = { 0 };

	c->fn(f, &found);
	if (found.state != state)
		unit_fail(__FILE__, __LINE__, "%s is %s (%s), want %s", id,
			  explain_state_name(found.state), found.text ? found.text : "",
			  explain_state_name(state));
	CHECK(state <= c->severity);
	if (part)
		HAS_STR(found.text ? found.text : "", part);
	if (fix)
		HAS_STR(found.fix ? found.fix : "", fix);
	else
		EQ_STR(found.fix, NULL);
	explain_finding_release(&found);
}

/* It finds nothing. */
static void quiet(const struct explain_facts *f, const char *id)
{
	is(f, id, EXPLAIN_OK, NULL, NULL);
}

TEST(all_is_well)
{
	const struct explain_check *all;
	struct explain_facts *f;
	struct sound s;
	size_t n;

	f = sound(&s);
	all = explain_checks(&n);
	CHECK(n >= 40);
	for (size_t k = 0; k < n; k++) {
		quiet(f, all[k].id);
		CHECK(explain_find(all[k].id) == &all[k]);
		CHECK(*all[k].why && *all[k].title);
	}
	CHECK(!explain_find("nothing"));
}

TEST(the_node)
{
	struct sound s;
	struct explain_facts *f = sound(&s);

	s.node.d.store = DOCTOR_STORE_BROKEN;
	s.node.view = NULL;
	s.node.d.store_trouble = trouble;
	is(f, "root", EXPLAIN_STOPS, "trouble", "install -d -m 0711 /srv/root");
	/* One that is not made yet is missing images, not itself. */
	s.node.d.store = DOCTOR_STORE_ABSENT;
	quiet(f, "root");
	f->image.stored = false;
	f->image.near = EXPLAIN_FAR;
	is(f, "absent", EXPLAIN_STOPS, "not in the store", "k3simg preload");
	f = sound(&s);
	s.node.d.config_read = false;
	s.node.d.config_trouble = trouble;
	is(f, "config", EXPLAIN_STOPS, "trouble", "mv /etc/c.toml");
	f = sound(&s);
	s.node.d.config.snapshotter = overlayfs;
	is(f, "snapshotter", EXPLAIN_WARNS, "overlayfs", "k3simg setup --root /srv/root");
	s.node.d.config.nfiles = 1;
	is(f, "snapshotter", EXPLAIN_WARNS, "overlayfs",
	   "overlayfs[\"'\\'']|\\1\"native\"|' /etc/c.toml");
	s.node.d.config.nfiles = 0;
	s.node.d.config.file = NULL;
	quiet(f, "snapshotter");
	f = sound(&s);
	s.node.d.pause_stored = false;
	is(f, "pause", EXPLAIN_STOPS, "pause:1: not in the store",
	   "k3simg preload --root /srv/root --pause pause:1 pause:1");
	s.node.d.pause_stored = true;
	s.node.d.pause_pinned = false;
	is(f, "pause", EXPLAIN_WARNS, "not pinned", "--pause pause:1");
}

TEST(what_the_pod_asks_of_the_node)
{
	static const char text[] = "nodeSelector: {kubernetes.io/arch: vax}\n"
				   "runtimeClassName: \"kata\"\n";
	struct imp_runtime one = { .name = runc };
	struct sound s;
	struct explain_facts *f = sound(&s);
	K3_AUTO_FREE char *fix = k3_xasprintf("sed -i '1s|vax|%s|' pod.yaml", s.node.platform.arch);

	f->text = text;
	f->text_len = strlen(text);
	s.pod.node_arch = (struct kube_text){ "vax", 1 };
	is(f, "node-arch", EXPLAIN_STOPS, "architecture \"vax\"", fix);
	s.pod.node_arch.s = s.node.platform.arch;
	quiet(f, "node-arch");
	s.pod.node_os = (struct kube_text){ "windows", 9 };
	is(f, "node-os", EXPLAIN_STOPS, "system \"windows\"", "${EDITOR:-vi} +9 pod.yaml");
	s.pod.runtime_class = (struct kube_text){ "kata", 2 };
	is(f, "runtime-class", EXPLAIN_STOPS, "io.containerd.kata.v2", "2s|[\"");
	s.node.d.config.cri.runtimes = &one;
	s.node.d.config.cri.nruntimes = 1;
	is(f, "runtime-class", EXPLAIN_STOPS, "/etc/c.toml has no runtime", "null");
	s.pod.runtime_class.s = "runc";
	quiet(f, "runtime-class");
	f = sound(&s);
	s.pod.pull_secrets = true;
	is(f, "pull-secrets", EXPLAIN_NOTE, "play no part", NULL);
	f->in_volume = true;
	is(f, "volume", EXPLAIN_NOTE, "\"/entry\" may come from a volume", NULL);
}

TEST(names_and_policies)
{
	struct sound s;
	struct explain_facts *f = sound(&s);

	f->ref_trouble = trouble;
	f->name = NULL;
	is(f, "name", EXPLAIN_STOPS, "trouble", "k3simg list --root /srv/root -o name");
	f->lower = lower;
	is(f, "name", EXPLAIN_STOPS, "trouble", "sed -i '5s|nginx:1|nginx|' pod.yaml");
	f->manifest = false;
	is(f, "name", EXPLAIN_STOPS, "trouble", "k3simg explain nginx");
	f = sound(&s);
	f->policy = EXPLAIN_NO_POLICY;
	s.pod.pull_policy = (struct kube_text){ "Always", 6 };
	is(f, "pull-policy", EXPLAIN_STOPS, "\"Always\"", "6s|Always|IfNotPresent|");
	f->policy = EXPLAIN_ALWAYS;
	is(f, "pull-always", EXPLAIN_STOPS, "asked for docker.io/library/nginx:1",
	   "sed -i '6s|Always|IfNotPresent|' pod.yaml");
	f->file = NULL;
	is(f, "pull-always", EXPLAIN_STOPS, "each start", "sed '6s|Always|IfNotPresent|'");
	quiet(f, "pull-latest");
	s.pod.pull_policy.s = NULL;
	f->ref.tag = latest;
	is(f, "pull-latest", EXPLAIN_STOPS,
	   "no pull policy: ", "sed '5a\\    imagePullPolicy: \"IfNotPresent\"'");
	s.pod.image.line = 10; /* a mapping in one line */
	is(f, "pull-latest", EXPLAIN_STOPS, "no pull policy",
	   "&, \"imagePullPolicy\": \"IfNotPresent\"|");
	f->manifest = false;
	is(f, "pull-latest", EXPLAIN_WARNS, "unless its pod sets one",
	   "kubectl run nginx --image=nginx:1 --overrides='{\"spec\"");
	f = sound(&s);
	f->policy = EXPLAIN_NEVER;
	quiet(f, "pull-never");
	f->image.stored = false;
	is(f, "pull-never", EXPLAIN_STOPS, "ErrImageNeverPull",
	   "k3simg preload --root /srv/root --pause none nginx:1");
}

TEST(absent_and_near)
{
	static const struct {
		const char *id;
		enum explain_near near;
		const char *fix, *alone; /* with a manifest, and without */
	} kinds[] = {
		{ "same-image", EXPLAIN_SAME_IMAGE, "preload --root", "preload --root" },
		{ "not-normal", EXPLAIN_NOT_NORMAL, "k3simg tag --root /srv/root sha256:0000",
		  "k3simg tag --root" },
		{ "case", EXPLAIN_CASE, "sed -i '5s|nginx:1|", "k3simg tag --root" },
		{ "other-digest", EXPLAIN_OTHER_DIGEST, "preload --root", "preload --root" },
		{ "registry", EXPLAIN_REGISTRY, "sed -i '5s|nginx:1|", "k3simg tag --root" },
		{ "tag", EXPLAIN_TAG, "none nginx:1", "none nginx:1" },
		{ "spelling", EXPLAIN_SPELLING, "sed -i '5s|nginx:1|", "k3simg explain" },
		{ "absent", EXPLAIN_FAR, "none nginx:1", "none nginx:1" },
	};
	struct sound s;
	struct explain_facts *f = sound(&s);

	f->image = (struct explain_image){ .near_name = other, .near_list = other };
	for (size_t k = 0; k < K3_ARRAY_LEN(kinds); k++) {
		f->image.near = kinds[k].near;
		f->manifest = true;
		is(f, kinds[k].id, EXPLAIN_STOPS, "docker.io/library/nginx:1 is not in",
		   kinds[k].fix);
		f->manifest = false;
		is(f, kinds[k].id, EXPLAIN_STOPS,
		   kinds[k].near ? "library/nginx:2" : "nor any name like it", kinds[k].alone);
		for (size_t i = 0; i < K3_ARRAY_LEN(kinds); i++)
			if (i != k)
				quiet(f, kinds[i].id);
	}
	f->image.spaces = spaces;
	is(f, "namespace", EXPLAIN_STOPS, "but only in: default", "none nginx:1");
	quiet(f, "absent");
	/* Without a store nothing is said of names. */
	s.node.view = NULL;
	quiet(f, "namespace");
}

TEST(nearest_names)
{
	static const struct {
		const char *wanted, *stored[3];
		enum explain_near near;
		const char *name;
	} cases[] = {
		{ "nginx:1", { "nginx:1" }, EXPLAIN_NOT_NORMAL, "nginx:1" },
		{ "nginx:1", { "docker.io/nginx:1" }, EXPLAIN_NOT_NORMAL, "docker.io/nginx:1" },
		{ "nginx:v1",
		  { "docker.io/library/nginx:V1" },
		  EXPLAIN_CASE,
		  "docker.io/library/nginx:V1" },
		{ "nginx:1",
		  { "quay.io/nginx:1", "docker.io/library/nginx:2" },
		  EXPLAIN_REGISTRY,
		  "quay.io/nginx:1" },
		{ "nginx:1",
		  { "docker.io/library/nginx:2", "docker.io/library/nginx:3" },
		  EXPLAIN_TAG,
		  "docker.io/library/nginx:2" },
		{ "ngimx:1",
		  { "docker.io/library/nginx:2" },
		  EXPLAIN_SPELLING,
		  "docker.io/library/nginx:2" },
		{ "redis", { "docker.io/library/nginx:2", "not a name" }, EXPLAIN_FAR, NULL },
		{ "nginx@sha256:"
		  "0000000000000000000000000000000000000000000000000000000000000000",
		  { "quay.io/app:1" },
		  EXPLAIN_SAME_IMAGE,
		  "quay.io/app:1" },
		{ "nginx@sha256:"
		  "1111111111111111111111111111111111111111111111111111111111111111",
		  { "docker.io/library/nginx:1", "quay.io/nginx:1" },
		  EXPLAIN_OTHER_DIGEST,
		  "docker.io/library/nginx:1" },
	};

	for (size_t k = 0; k < K3_ARRAY_LEN(cases); k++) {
		struct explain_name names[3] = { 0 };
		struct explain_node n = { .names = names };
		struct explain_image x = { 0 };
		struct oci_ref ref;
		struct k3_err err;

		for (; n.n < 3 && cases[k].stored[n.n]; n.n++)
			names[n.n].name = k3_xstrdup(cases[k].stored[n.n]);
		OK(oci_ref_parse(cases[k].wanted, &ref, &err));
		K3_AUTO_FREE char *full = oci_ref_name(&ref);

		explain_find_near(&n, &ref, full, &x);
		EQ_INT(x.near, cases[k].near);
		EQ_STR(x.near_name, cases[k].name);
		explain_image_release(&x);
		oci_ref_release(&ref);
		for (size_t i = 0; i < n.n; i++)
			free(names[i].name);
	}
}

TEST(long_lists_are_cut)
{
	struct explain_name names[7] = { 0 };
	struct explain_node n = { .names = names, .n = 7 };
	struct explain_image x = { 0 };
	struct oci_ref ref;
	struct k3_err err;

	for (size_t k = 0; k < 7; k++)
		names[k].name = k3_xasprintf("docker.io/library/nginx:2.%zu", k);
	OK(oci_ref_parse("nginx:1", &ref, &err));
	explain_find_near(&n, &ref, name, &x);
	EQ_INT(x.near, EXPLAIN_TAG);
	HAS_STR(x.near_list, "nginx:2.0, docker.io/library/nginx:2.1, ");
	HAS_STR(x.near_list, "nginx:2.4 and 2 more");
	explain_image_release(&x);
	oci_ref_release(&ref);
	for (size_t k = 0; k < 7; k++)
		free(names[k].name);
}

TEST(the_image)
{
	struct sound s;
	struct explain_facts *f = sound(&s);

	f->image.record_trouble = trouble;
	is(f, "record", EXPLAIN_STOPS, "trouble", "images rm docker.io/library/nginx:1");
	f = sound(&s);
	f->image.read = false;
	f->image.document_trouble = trouble;
	is(f, "damaged", EXPLAIN_STOPS, "trouble", "k3simg repair --root /srv/root");
	f->image.document_missing = true;
	is(f, "document", EXPLAIN_STOPS, "trouble", "k3simg repair --root /srv/root");
	quiet(f, "damaged");
	f = sound(&s);
	f->image.offers = offers;
	is(f, "platform", EXPLAIN_STOPS, "there is linux/s390x", " --platform linux/");
	f->image.offers = NULL;
	f->image.rank = -1;
	is(f, "platform", EXPLAIN_STOPS, "not for it", " --platform linux/");
	f->image.rank = 1;
	is(f, "variant", EXPLAIN_WARNS, "next best", " --platform linux/");
}

TEST(unpacked_or_not)
{
	struct sound s;
	struct explain_facts *f = sound(&s);

	f->image.for_configured = f->image.unpacked = false;
	f->image.snapshotters = NULL;
	is(f, "not-unpacked", EXPLAIN_WARNS, "unpacks 3 layers",
	   "preload --root /srv/root --pause none docker.io/library/nginx@sha256:");
	quiet(f, "other-snapshotter");
	f->image.missing = 2;
	is(f, "layers", EXPLAIN_STOPS, "2 of its 3 layers", "k3simg repair");
	quiet(f, "not-unpacked");
	f->image.missing = 0;
	f->image.snapshotters = overlayfs;
	is(f, "other-snapshotter", EXPLAIN_WARNS,
	   "CRI uses native, and the image is unpacked for "
	   "overlayfs",
	   "preload --root");
	f->image.snapshotters = native;
	s.node.d.config.snapshotter = overlayfs;
	is(f, "other-snapshotter", EXPLAIN_WARNS, "CRI uses overlayfs",
	   "k3simg setup --root /srv/root");
	quiet(f, "not-unpacked");
	f = sound(&s);
	f->image.snapshot_trouble = trouble;
	is(f, "snapshot", EXPLAIN_STOPS, "not there: trouble", "k3simg repair");
	/* Layers that are not there do not matter where the snapshot is. */
	f = sound(&s);
	f->image.missing = 3;
	quiet(f, "layers");
}

TEST(labels)
{
	struct sound s;
	struct explain_facts *f = sound(&s);

	f->image.managed = false;
	is(f, "unmanaged", EXPLAIN_WARNS, "when it starts", "preload --root");
	s.node.d.store = DOCTOR_STORE_LIVE;
	is(f, "unmanaged", EXPLAIN_WARNS, "containerd runs", "preload --root");
	f->image.pinned = false;
	is(f, "collected", EXPLAIN_WARNS, "from 85 % of the disk on (now 80 %)", "nginx@sha256:");
	s.node.default_root = true;
	is(f, "collected", EXPLAIN_WARNS, "not pinned", "k3simg preload docker.io/library/nginx@");
	s.node.d.host.kubelet.gc_high = 100;
	quiet(f, "collected");
}

TEST(the_program)
{
	static const struct {
		const char *id;
		enum program_state state;
		const char *part;
	} states[] = {
		{ "program", PROGRAM_MISSING, "\"/entry\", is not in the image" },
		{ "program-file", PROGRAM_NO_FILE, "no regular file" },
		{ "program-mode", PROGRAM_NO_PERMISSION, "is not executable" },
		{ "program-format", PROGRAM_NO_FORMAT, "neither an ELF program nor a script" },
		{ "program-machine", PROGRAM_FOREIGN, "is built for vax" },
		{ "interpreter", PROGRAM_NO_INTERPRETER, "its interpreter /lib/ld.so" },
		{ "loader", PROGRAM_NO_LOADER, "needs the loader /lib/ld.so" },
		{ "loader-machine", PROGRAM_FOREIGN_LOADER, "which is built for vax" },
	};
	struct sound s;
	struct explain_facts *f = sound(&s);

	f->program = (struct program){ .path = entry, .other = loader, .machine = "vax" };
	for (size_t k = 0; k < K3_ARRAY_LEN(states); k++) {
		f->program.state = states[k].state;
		f->alternative = shell;
		is(f, states[k].id, EXPLAIN_STOPS, states[k].part,
		   "sed -i '5a\\    command: [\"/bin/sh\"]' pod.yaml");
		f->alternative = NULL;
		is(f, states[k].id, EXPLAIN_STOPS, "the program of the image",
		   states[k].state == PROGRAM_FOREIGN ? " --platform linux/" : "k3simg repair");
	}
	f->program.state = PROGRAM_NO_INTERPRETER;
	f->program.carriage = true;
	is(f, "interpreter", EXPLAIN_STOPS, "as on Windows", "k3simg repair");
	f->program.state = PROGRAM_MISSING;
	f->alternative = shell;
	f->word = "run";
	f->from_pod = true;
	s.pod.command = (struct kube_words){ &s.command, 1, true };
	f->image.process.path = path;
	is(f, "program", EXPLAIN_STOPS,
	   "the command of the pod, \"run\", is in no directory of "
	   "PATH: /bin",
	   "sed -i '7s|run|/bin/sh|' pod.yaml");
	f->from_args = true;
	is(f, "program", EXPLAIN_STOPS, "the first argument of the pod, \"run\"", "/bin/sh");
	f->word = NULL;
	is(f, "no-command", EXPLAIN_STOPS, "neither the image nor its pod", "5a\\    command: [");
	f = sound(&s);
	f->workdir = "/etc/passwd";
	f->workdir_file = true;
	is(f, "workdir", EXPLAIN_STOPS, "/etc/passwd is no directory", "5a\\    workingDir: \"/\"");
}

TEST(the_user)
{
	struct sound s;
	struct explain_facts *f = sound(&s);

	f->user = app;
	f->user_found = f->uid_known = f->user_numeric = false;
	is(f, "user", EXPLAIN_STOPS, "\"app:staff\"", "{\"runAsUser\": 65534}");
	quiet(f, "group");
	f->user_found = f->uid_known = true;
	f->group_found = false;
	f->uid = 101;
	is(f, "group", EXPLAIN_WARNS, "\"app:staff\"", "{\"runAsUser\": 101}");
	s.pod.non_root = KUBE_YES;
	s.pod.security_line = 9;
	is(f, "non-root", EXPLAIN_STOPS, "is a name", "sed -i '9i\\      runAsUser: 101' pod.yaml");
	s.pod.security_line = 10;
	is(f, "non-root", EXPLAIN_STOPS, "is a name", "*{|&\"runAsUser\": 101, |");
	f = sound(&s);
	s.pod.non_root = KUBE_YES;
	is(f, "non-root", EXPLAIN_STOPS, "the user of the image is root", "65534");
	f->uid = 1000;
	quiet(f, "non-root");
}

UNIT_MAIN
