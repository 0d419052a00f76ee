/* SPDX-License-Identifier: Apache-2.0 */
/*
 * k3s makes containerd's configuration itself, at each start, from a template that may include
 * its own ("base").  A table of TOML may be written once only, so a template can add tables but
 * change none: the runtime gets a name of its own, and what k3s has flags for goes to its
 * config.yaml.d, where a key with "+" adds to a list.
 */
#include <string.h>

#include "base/mem.h"
#include "setup/files.h"

#define RUNTIME_NAME "k3simg"

static int add_template(const struct setup_opts *o, struct setup_plan *p, const char *name,
			const char *cri, struct k3_err *e)
{
	/* ROOT is AGENT/containerd, templates are in AGENT/etc/containerd. */
	const char *slash = strrchr(o->root, '/');
	struct setup_file *f = setup_plan_add(
		p, k3_xasprintf("%.*s/etc/containerd/%s", (int)(slash - o->root), o->root, name));
	static const char text[] = "# " SETUP_HEADER "\n"
				   "{{ template \"base\" . }}\n"
				   "\n"
				   "[plugins.'%s'.containerd.runtimes." RUNTIME_NAME "]\n"
				   "  runtime_type = 'io.containerd.runc.v2'\n"
				   "\n"
				   "[plugins.'%s'.containerd.runtimes." RUNTIME_NAME ".options]\n"
				   "  BinaryName = '%s" SETUP_RUNTIME_LINK "'\n"
				   "  SystemdCgroup = false\n"
				   "\n"
				   "[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]\n"
				   "  platform = '%s'\n"
				   "  snapshotter = 'native'\n";

	return k3_buf_addf(&f->text, e, text, cri, cri, o->prefix, o->platform);
}

/*
 * Image collection off (100), the low mark has to be below it.  The kubelet refuses
 * enforce-node-allocatable, also its default, without cgroups-per-qos.
 */
static int add_config(const struct setup_opts *o, struct setup_plan *p, struct k3_err *e)
{
	struct setup_file *f = setup_plan_add(p, k3_xasprintf("%s" SETUP_K3S_CONFIG, o->prefix));
	static const char text[] = "# " SETUP_HEADER "\n"
				   "snapshotter: native\n"
				   "default-runtime: " RUNTIME_NAME "\n"
				   "flannel-backend: none\n"
				   "disable-network-policy: true\n";
	static const char kubelet[] = "kubelet-arg+:\n"
				      "  - image-gc-high-threshold=100\n"
				      "  - image-gc-low-threshold=99\n"
				      "  - local-storage-capacity-isolation=false\n";
	static const char no_cgroups[] = "  - cgroups-per-qos=false\n"
					 "  - enforce-node-allocatable=\n";

	if (k3_buf_add(&f->text, text, sizeof(text) - 1, e) ||
	    (o->pause && k3_buf_addf(&f->text, e, "pause-image: '%s'\n", o->pause)) ||
	    k3_buf_add(&f->text, kubelet, sizeof(kubelet) - 1, e))
		return -1;
	return o->facts.cgroup ? 0 : k3_buf_add(&f->text, no_cgroups, sizeof(no_cgroups) - 1, e);
}

int k3s_files(const struct setup_opts *o, struct setup_plan *p, struct k3_err *e)
{
	if (o->version != 2 &&
	    add_template(o, p, "config-v3.toml.tmpl", "io.containerd.cri.v1.runtime", e))
		return -1;
	if (o->version != 3 &&
	    add_template(o, p, "config.toml.tmpl", "io.containerd.grpc.v1.cri", e))
		return -1;
	if (add_config(o, p, e))
		return -1;
	/* The kubelet does not start without it; kernel messages are not to be had anyway. */
	if (o->facts.no_kmsg && !o->prefix[0]) {
		struct setup_file *f = setup_plan_add(p, k3_xstrdup("/dev/kmsg"));

		f->link = k3_xstrdup("/dev/null");
	}
	return 0;
}
