/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "doctor/finding.h"
#include "oci/oci.h"

#define CONTAINERD_CONFIG "/etc/containerd/config.toml"
/* Where k3simg setup puts its front, and what it notes for it, below its prefix. */
#define FRONT "/usr/local/lib/k3simg/k3simg-oci-runtime"
#define FRONT_CHOICE "/etc/k3simg/runtime"
#define CHOICE_MAX 4096 /* bytes of that file */

/* ---- configuration -------------------------------------------------------------------------- */

/*
 * What k3s makes anew when it starts: without flannel it names no directories for CNI, so that
 * containerd's own are in force, and a runtime that a template adds may become the default.
 */
static void gather_k3s(struct doctor_facts *f)
{
	struct imp_cri *c = &f->config.cri;
	K3_AUTO_FREE char *its_own = k3_xasprintf(
		"%s/etc/cni/net.d", f->config.agent ? doctor_inside(f, f->config.agent) : "");

	if (!f->host.k3s.own_network || strcmp(c->cni_conf, its_own) != 0)
		return;
	free(c->cni_conf);
	c->cni_conf = k3_xstrdup("/etc/cni/net.d");
	free(c->cni_bin[0]);
	c->cni_bin[0] = k3_xstrdup("/opt/cni/bin");
}

/* The runtime that setup has noted for its front; NULL leaves it to the front. */
static char *noted_runtime(const struct doctor_facts *f)
{
	const char *path = f->runtime.path;
	size_t n = strlen(path), place = strlen(FRONT);
	bool below = n >= place && !strcmp(path + n - place, FRONT);
	K3_AUTO_FREE char *file = k3_xasprintf("%s%.*s" FRONT_CHOICE, f->sysroot,
					       below ? (int)(n - place) : 0, path);
	K3_AUTO_BUF struct k3_buf text = K3_BUF(CHOICE_MAX);
	struct k3_err ignored;
	char *save = NULL;

	if (k3_read_file(AT_FDCWD, file, &text, &ignored) || !text.len)
		return NULL;
	for (char *word = strtok_r((char *)text.p, "\r\n", &save); word;
	     word = strtok_r(NULL, "\r\n", &save))
		if (word[0] != '#' && word[0] != ' ')
			return k3_xstrndup(word, strcspn(word, " \t"));
	return NULL;
}

static void gather_runtime(struct doctor_facts *f)
{
	const char *name = imp_cri_runtime(&f->config.cri), *slash;

	if (f->config.kind == IMP_ROOT_K3S && f->host.k3s.runtime_binary)
		name = f->host.k3s.runtime_binary;
	host_find_program(f->sysroot, name, &f->runtime);
	slash = f->runtime.target ? strrchr(f->runtime.target, '/') : NULL;
	f->front = slash && !strcmp(slash + 1, "k3simg");
	if (!f->front)
		return;
	K3_AUTO_FREE char *noted = noted_runtime(f);

	host_find_program(f->sysroot, noted ? noted : "crun", &f->behind);
	if (!f->behind.path && !noted)
		host_find_program(f->sysroot, "runc", &f->behind);
}

static void gather_config(const struct doctor_opts *o, struct doctor_facts *f)
{
	K3_AUTO_FREE char *common = k3_xasprintf("%s%s", f->sysroot, CONTAINERD_CONFIG);
	struct k3_err why;

	f->config_read = !imp_config_load_at(f->sysroot, f->root, o->config, &f->config, &why);
	if (!f->config_read) {
		f->config_trouble = k3_xstrdup(why.msg);
		f->config = (struct imp_config){ 0 };
	}
	imp_config_ask_program(f->sysroot, &f->config);
	f->config_elsewhere = f->config_read && f->config.kind == IMP_ROOT_CONTAINERD &&
			      !f->config.file && !access(common, F_OK);
	f->config_file = k3_xstrdup(f->config.file ? f->config.file
				    : o->config    ? o->config
						   : common);
	f->asked_address = o->address ? k3_xstrdup(o->address) : NULL;
	if (o->address)
		f->address = k3_xstrdup(o->address);
	else if (f->config.address)
		f->address = k3_xasprintf("%s%s", f->sysroot, f->config.address);
	if (!f->config_read)
		return;
	if (f->config.kind == IMP_ROOT_K3S)
		gather_k3s(f);
	gather_runtime(f);
}

static bool answers(const char *address)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	K3_AUTO_FD int fd = -1;

	if (!address || strlen(address) >= sizeof(to.sun_path))
		return false;
	memcpy(to.sun_path, address, strlen(address));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd >= 0 && !connect(fd, (const struct sockaddr *)&to, sizeof(to));
}

/* ---- the store ------------------------------------------------------------------------------ */

struct pause_search {
	struct doctor_facts *f;
	struct imp_view *view;
	const char *names[2]; /* as configured, and as a reference is written in full */
};

static int ignore(void *arg, const struct imp_finding *finding, struct k3_err *e)
{
	(void)arg;
	(void)finding;
	(void)e;
	return 0;
}

/* Which of several records is asked for depends on containerd's version: one that is right will do.
 */
static int look_at_record(void *arg, const struct imp_record *r, struct k3_err *e)
{
	__attribute__((cleanup(imp_checked_release))) struct imp_checked seen = { 0 };
	struct pause_search *s = arg;
	struct imp_names names = { .target = r->target, .v = &r->name, .n = 1 };
	const struct imp_sink silent = { .fn = ignore };
	struct oci_platform host;

	if (strcmp(r->name, s->names[0]) != 0 && strcmp(r->name, s->names[1]) != 0)
		return 0;
	s->f->pause_stored = true;
	s->f->pause_pinned = s->f->pause_pinned || r->pinned;
	oci_platform_host(&host);
	if (imp_check_image(s->view, &names, &host, &seen, &silent, e))
		return -1;
	for (size_t k = 0; k < seen.n; k++)
		if (seen.variants[k].wanted && seen.variants[k].unpacked)
			s->f->pause_unpacked = true;
	return 0;
}

static int search_pause(struct doctor_facts *f, struct imp *i, struct k3_err *e)
{
	const struct imp_sink silent = { .fn = ignore };
	struct pause_search s = { .f = f, .names = { f->config.pause, f->config.pause } };
	K3_AUTO_FREE char *full = NULL;
	struct oci_ref ref;
	struct k3_err why;
	int rc;

	if (!oci_ref_parse(f->config.pause, &ref, &why)) {
		s.names[1] = full = oci_ref_name(&ref);
		oci_ref_release(&ref);
	}
	if (imp_view_open(i, &s.view, e))
		return -1;
	rc = imp_check_records(s.view, look_at_record, &s, &silent, e);
	imp_view_close(s.view);
	return rc;
}

static int gather_store(const struct doctor_opts *o, struct doctor_facts *f, struct k3_err *e)
{
	struct imp_opts io = { .root = f->root, .ns = "k8s.io", .cancel = o->cancel };
	struct imp *i = NULL;
	struct k3_err why;

	f->socket_answers = answers(f->address);
	if (imp_open(&io, &i, &why)) {
		if (why.code == K3_CANCELLED) {
			*e = why;
			return -1;
		}
		f->store = why.code == K3_NOTFOUND ? DOCTOR_STORE_ABSENT : DOCTOR_STORE_BROKEN;
		f->store_trouble = k3_xstrdup(why.msg);
		return 0;
	}
	f->store = imp_is_live(i) ? DOCTOR_STORE_LIVE : DOCTOR_STORE_OFFLINE;
	if (f->config.pause && search_pause(f, i, &why))
		f->pause_trouble = k3_xstrdup(why.msg);
	imp_close(i, true);
	return 0;
}

/* ---- the disk ------------------------------------------------------------------------------- */

/* The root, or the nearest directory above it that there is. */
static char *existing(const char *path)
{
	char *at = k3_xstrdup(path);
	struct stat st;

	while (stat(at, &st) || !S_ISDIR(st.st_mode)) {
		char *slash = strrchr(at, '/');

		if (!slash || slash == at) {
			free(at);
			return k3_xstrdup(slash ? "/" : ".");
		}
		*slash = '\0';
	}
	return at;
}

static void gather_disk(const struct doctor_opts *o, struct doctor_facts *f)
{
	K3_AUTO_FD int fd = -1;
	struct k3_err why;

	f->disk = existing(f->root);
	f->overlay = -1;
	if (k3_open_dir(AT_FDCWD, f->disk, &fd, &why)) {
		f->fs_trouble = k3_xstrdup(why.msg);
		return;
	}
	f->space_known = !host_read_space(fd, &f->space, &why);
	if (o->no_probe)
		return;
	if (host_probe_fs(fd, &f->fs, &why)) {
		f->fs_trouble = k3_xstrdup(why.msg);
		return;
	}
	if (f->privileged && host_probe_overlay(fd, &f->overlay, &why))
		f->overlay = -1;
}

/* ---- together ------------------------------------------------------------------------------- */

int doctor_gather(const struct doctor_opts *o, struct doctor_facts *out, struct k3_err *e)
{
	*out = (struct doctor_facts){
		.sysroot = k3_xstrdup(o->sysroot ? o->sysroot : ""),
		.privileged = !geteuid(),
		.machine = host_machine(),
	};
	if (o->config && access(o->config, F_OK)) {
		k3_fail_sys(e, errno, "%s", o->config);
		e->code = K3_USAGE;
		goto fail;
	}
	out->root = o->root ? k3_xstrdup(o->root) : imp_default_root_at(out->sysroot);
	if (host_read(out->sysroot, &out->host, e))
		goto fail;
	gather_config(o, out);
	host_find_program(out->sysroot, "containerd", &out->containerd);
	if (out->config_read && host_read_cni(out->sysroot, out->config.cri.cni_conf, &out->cni, e))
		goto fail;
	if (gather_store(o, out, e))
		goto fail;
	gather_disk(o, out);
	return 0;
fail:
	doctor_facts_release(out);
	return -1;
}

void doctor_facts_release(struct doctor_facts *f)
{
	free(f->sysroot);
	host_release(&f->host);
	free(f->root);
	free(f->address);
	free(f->asked_address);
	free(f->config_file);
	free(f->config_trouble);
	imp_config_release(&f->config);
	host_program_release(&f->runtime);
	host_program_release(&f->behind);
	host_program_release(&f->containerd);
	host_cni_release(&f->cni);
	free(f->store_trouble);
	free(f->pause_trouble);
	free(f->disk);
	free(f->fs_trouble);
	*f = (struct doctor_facts){ 0 };
}
