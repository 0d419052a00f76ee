/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pod, from the look at its image to its removal.  Functions that fail say why in *e; when
 * it is the image's or the runtime's fault, out->cause is set too, and cri_start succeeds.
 */
#include "cri/cri.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/file.h"
#include "base/hash.h"
#include "base/mem.h"
#include "cri/answer.h"
#include "cri/cause.h"
#include "cri/log.h"

#define NAMESPACE "k3simg"
#define LABEL "k3simg.verify"    /* on our pod; its value is the name of the pod */
#define LOG_NAME "container.log" /* below the log directory */
#define SYSTEMD_SLICE "system.slice"
#define ANSWER_MAX (8u << 20)
#define REMOVE_MS 30000u /* at least, for all of the removal: containerd deletes two trees */
#define SETTLE_MS 3000u  /* how long a pod may still appear after we have given up waiting */
#define POLL_MS 50u
#define ENDING_MS 5000u /* from the end of a container to that of the pod that a kubelet ends */
#define SIGNALLED_KILL 137
#define SIGNALLED_TERM 143

#define TASK_STOPPED 3 /* containerd.v1.types.Status */

/* NamespaceMode and SecurityProfile.ProfileType of the API; what kubelet takes for plain pods. */
enum { MODE_POD = 0, MODE_CONTAINER = 1, MODE_NODE = 2, PROFILE_UNCONFINED = 1 };

struct pod {
	struct grpc *g;   /* the caller's, which ends with the run */
	struct grpc *own; /* knows of no cancellation: to clean up */
	const struct cri_start_opts *o;
	struct cri_started *out;
	struct cri_runtime runtime;
	char name[32];    /* also its uid */
	char log_dir[40]; /* "" = no log */
	char *image_id, *sandbox, *container;
	bool asked;     /* RunPodSandbox has been called */
	bool unsettled; /* it may still come up though the call has ended for us */
	uint64_t since; /* begin of the step */
};

/* ---- steps and failures ------------------------------------------------------------- */

static void done(struct pod *p, enum cri_step s)
{
	uint64_t now = k3_now_ms(), ms = now - p->since;

	p->since = now;
	p->out->step_ms[s] = ms ? ms : 1;
	if (s != CRI_STEP_REMOVED) {
		p->out->reached = s;
		p->out->any = true;
	}
	if (p->o->on_step)
		p->o->on_step(p->o->arg, s, ms);
}

static int give_up(struct pod *p, enum cri_cause cause, const char *message, struct k3_err *e)
{
	p->out->cause = cause;
	free(p->out->message);
	p->out->message = message && *message ? k3_xstrdup(message) : NULL;
	return k3_fail(e, K3_STORE, "%s", cri_cause_text(cause));
}

/* What the peer said, without "Service.Method: ", which grpc_call puts in front. */
static const char *said(const struct k3_err *e)
{
	size_t n = strcspn(e->msg, " ");

	return n && e->msg[n] && e->msg[n - 1] == ':' ? e->msg + n + 1 : e->msg;
}

/* What a call that failed means for the image. */
static int judge(struct pod *p, enum cri_step step, enum grpc_code code, struct k3_err *e)
{
	K3_AUTO_FREE char *message = k3_xstrdup(said(e));

	if (k3_cancelled(p->o->cancel))
		return k3_cancel_check(p->o->cancel, e);
	switch (code) {
	case GRPC_NO_PEER:
	case GRPC_NONE:
	case GRPC_UNAVAILABLE:
	case GRPC_UNIMPLEMENTED:
	case GRPC_PERMISSION_DENIED:
	case GRPC_UNAUTHENTICATED:
		return -1;
	case GRPC_DEADLINE_EXCEEDED:
		return give_up(p, CRI_CAUSE_TIMEOUT, message, e);
	default:
		return give_up(p, cri_cause_of_error(step, message), message, e);
	}
}

static int ask(struct grpc *g, const char *method, const struct grpc_msg *m, struct k3_buf *answer,
	       unsigned ms, enum grpc_code *code, struct k3_err *e)
{
	K3_AUTO_FREE char *full = k3_xasprintf("/runtime.v1.RuntimeService/%s", method);

	if (grpc_call(g, full, m, answer, ms, code, e))
		return -1;
	*code = GRPC_NONE;
	if (answer && grpc_check((struct grpc_val){ answer->p, answer->len }, e))
		return k3_wrap(e, "%s", method);
	return 0;
}

static int call(struct pod *p, enum cri_step step, const char *method, const struct grpc_msg *m,
		struct k3_buf *answer, struct k3_err *e)
{
	enum grpc_code code;

	if (ask(p->g, method, m, answer, p->o->timeout_ms, &code, e))
		return judge(p, step, code, e);
	return 0;
}

static struct grpc_val val(const struct k3_buf *b)
{
	return (struct grpc_val){ b->p, b->len };
}

#define AUTO_ANSWER __attribute__((cleanup(k3_buf_release))) struct k3_buf
#define ANSWER K3_BUF(ANSWER_MAX)

/* ---- what the pod is made of -------------------------------------------------------- */

static void put_namespaces(const struct pod *p, struct grpc_msg *m, unsigned field)
{
	size_t at = grpc_open(m, field);

	grpc_put_u64(m, 1, p->o->pod_network ? MODE_POD : MODE_NODE);
	grpc_put_u64(m, 2, MODE_CONTAINER); /* PIDs */
	grpc_close(m, at);
}

/* PodSandboxConfig */
static void put_sandbox(const struct pod *p, struct grpc_msg *m, unsigned field)
{
	size_t config = grpc_open(m, field), at = grpc_open(m, 1);

	grpc_put_str(m, 1, p->name);
	grpc_put_str(m, 2, p->name);
	grpc_put_str(m, 3, NAMESPACE);
	grpc_close(m, at);
	grpc_put_str(m, 3, p->log_dir);
	grpc_put_pair(m, 6, LABEL, p->name);
	at = grpc_open(m, 8); /* linux */
	grpc_put_str(m, 1, p->runtime.systemd_cgroup ? SYSTEMD_SLICE : NULL);
	size_t security = grpc_open(m, 2);

	put_namespaces(p, m, 1);
	grpc_close(m, security);
	grpc_close(m, at);
	grpc_close(m, config);
}

/* ContainerConfig */
static void put_container(const struct pod *p, struct grpc_msg *m, unsigned field)
{
	size_t config = grpc_open(m, field), at = grpc_open(m, 1);

	grpc_put_str(m, 1, "verify");
	grpc_close(m, at);
	at = grpc_open(m, 2);
	grpc_put_str(m, 1, p->image_id);
	grpc_close(m, at);
	for (size_t i = 0; i < p->o->ncommand; i++)
		grpc_add_str(m, 3, p->o->command[i]);
	grpc_put_pair(m, 9, LABEL, p->name);
	grpc_put_str(m, 11, *p->log_dir ? LOG_NAME : NULL);
	at = grpc_open(m, 15); /* linux */
	size_t security = grpc_open(m, 2);

	put_namespaces(p, m, 3);
	size_t seccomp = grpc_open(m, 15);

	grpc_put_u64(m, 1, PROFILE_UNCONFINED);
	grpc_close(m, seccomp);
	grpc_close(m, security);
	grpc_close(m, at);
	grpc_close(m, config);
}

static int choose_name(struct pod *p, struct k3_err *e)
{
	uint8_t raw[6];
	char hex[2 * sizeof(raw) + 1];

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return k3_fail_sys(e, errno, "no random numbers");
	k3_hex(raw, sizeof(raw), hex);
	snprintf(p->name, sizeof(p->name), "k3simg-verify-%s", hex);
	return 0;
}

/*
 * containerd opens the log, so the directory must be one that it sees too: services often have a
 * /tmp of their own.  Without one there is no log, and that is all.
 */
static void make_log_dir(struct pod *p)
{
	static const char *const where[] = { "/run", "/tmp" };

	for (size_t i = 0; i < K3_ARRAY_LEN(where); i++) {
		snprintf(p->log_dir, sizeof(p->log_dir), "%s/k3simg-verify.%d.XXXXXX", where[i],
			 (int)getpid());
		if (mkdtemp(p->log_dir))
			return;
	}
	p->log_dir[0] = '\0';
}

/* ---- the steps ---------------------------------------------------------------------- */

/* CRI does not know the image: whether containerd does. */
static enum cri_cause why_no_image(struct pod *p)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	AUTO_ANSWER answer = ANSWER;
	struct k3_err ignored;

	grpc_put_str(&m, 1, p->o->name ? p->o->name : p->o->ref);
	if (grpc_call(p->own, "/containerd.services.images.v1.Images/Get", &m, &answer,
		      p->o->timeout_ms, NULL, &ignored) ||
	    grpc_check(val(&answer), &ignored))
		return CRI_CAUSE_NO_IMAGE;
	K3_AUTO_FREE char *media = grpc_get_str(grpc_get(grpc_get(val(&answer), 1), 3), 1);

	return strstr(media, "index") || strstr(media, "manifest.list") ? CRI_CAUSE_PLATFORM
									: CRI_CAUSE_INCOMPLETE;
}

static int find_image(struct pod *p, struct k3_err *e)
{
	struct cri_image image;

	if (cri_image_status(p->g, p->o->ref, &image, e))
		return -1;
	p->image_id = K3_STEAL(image.id);
	cri_image_release(&image);
	if (!p->image_id)
		return give_up(p, why_no_image(p), NULL, e);
	done(p, CRI_STEP_IMAGE);
	return 0;
}

/* What RunPodSandbox would fail on later, or pull. */
static int check_runtime(struct pod *p, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	AUTO_ANSWER answer = ANSWER;
	struct cri_image image;
	const char *pause;

	grpc_put_u64(&m, 1, true); /* verbose */
	if (call(p, CRI_STEP_SANDBOX, "Status", &m, &answer, e))
		return -1;
	cri_runtime_parse(val(&answer), &p->runtime);
	/* containerd 1.6 cannot even remove a pod whose network it could not make. */
	if (p->o->pod_network && !p->runtime.network_ready)
		return give_up(p, CRI_CAUSE_NO_NETWORK, p->runtime.network_message, e);
	pause = p->runtime.pause ? p->runtime.pause : p->o->pause;
	if (!pause)
		return 0;
	if (cri_image_status(p->g, pause, &image, e))
		return -1;
	bool found = image.found;

	cri_image_release(&image);
	return found ? 0 : give_up(p, CRI_CAUSE_NO_PAUSE, pause, e);
}

static int run_sandbox(struct pod *p, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	AUTO_ANSWER answer = ANSWER;
	enum grpc_code code;

	if (check_runtime(p, e))
		return -1;
	put_sandbox(p, &m, 1);
	p->asked = true;
	p->unsettled = true;
	if (ask(p->g, "RunPodSandbox", &m, &answer, p->o->timeout_ms, &code, e)) {
		p->unsettled = code == GRPC_NO_PEER || code == GRPC_NONE ||
			       code == GRPC_CANCELLED || code == GRPC_DEADLINE_EXCEEDED;
		return judge(p, CRI_STEP_SANDBOX, code, e);
	}
	p->unsettled = false;
	p->sandbox = grpc_get_str(val(&answer), 1);
	done(p, CRI_STEP_SANDBOX);
	return 0;
}

static int create_container(struct pod *p, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	AUTO_ANSWER answer = ANSWER;

	grpc_put_str(&m, 1, p->sandbox);
	put_container(p, &m, 2);
	put_sandbox(p, &m, 3);
	if (call(p, CRI_STEP_CREATE, "CreateContainer", &m, &answer, e))
		return -1;
	p->container = grpc_get_str(val(&answer), 1);
	done(p, CRI_STEP_CREATE);
	return 0;
}

static int start_container(struct pod *p, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;

	grpc_put_str(&m, 1, p->container);
	if (call(p, CRI_STEP_START, "StartContainer", &m, NULL, e))
		return -1;
	done(p, CRI_STEP_START);
	return 0;
}

/* ---- running ------------------------------------------------------------------------ */

/* Whether the pod is gone or going: nobody but us should end it. */
static bool sandbox_ended(struct pod *p)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	uint64_t end = k3_now_ms() + ENDING_MS;
	struct k3_err ignored;

	grpc_put_str(&m, 1, p->sandbox);
	do {
		AUTO_ANSWER answer = ANSWER;
		enum grpc_code code;

		if (ask(p->g, "PodSandboxStatus", &m, &answer, p->o->timeout_ms, &code, &ignored))
			return code == GRPC_NOT_FOUND;
		if (grpc_get_u64(grpc_get(val(&answer), 1), 3)) /* SANDBOX_NOTREADY */
			return true;
	} while (k3_now_ms() < end && !k3_cancel_sleep(p->o->cancel, POLL_MS, &ignored));
	return false;
}

static int ended(struct pod *p, const struct cri_container *c, struct k3_err *e)
{
	const char *why = *c->message ? c->message : c->reason;

	p->out->exited = true;
	p->out->exit_code = c->exit_code;
	if (!c->exit_code)
		return 0;
	if ((c->exit_code == SIGNALLED_KILL || c->exit_code == SIGNALLED_TERM) &&
	    strcmp(c->reason, "OOMKilled") != 0 && sandbox_ended(p)) {
		p->out->exited = false;
		p->out->cut = true;
		return 0;
	}
	/* "Error" says no more than the status does. */
	return give_up(p, CRI_CAUSE_EXITED, strcmp(why, "Error") != 0 ? why : NULL, e);
}

static int look(struct pod *p, struct cri_container *out, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	AUTO_ANSWER answer = ANSWER;
	enum grpc_code code;

	*out = (struct cri_container){ 0 };
	grpc_put_str(&m, 1, p->container);
	if (ask(p->g, "ContainerStatus", &m, &answer, p->o->timeout_ms, &code, e)) {
		if (code != GRPC_NOT_FOUND)
			return judge(p, CRI_STEP_RUNNING, code, e);
		/* Whoever removed it did so while it ran. */
		p->out->cut = true;
		return 0;
	}
	cri_container_parse(val(&answer), out);
	return 0;
}

/*
 * CRI tells of an end only when all of it has been taken down, which may be a second later: the
 * task is stopped, then gone, before that.
 */
static bool has_stopped(struct pod *p)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	AUTO_ANSWER answer = ANSWER;
	enum grpc_code code;
	struct k3_err ignored;

	grpc_put_str(&m, 1, p->container);
	if (grpc_call(p->own, "/containerd.services.tasks.v1.Tasks/Get", &m, &answer,
		      p->o->timeout_ms, &code, &ignored))
		return code == GRPC_NOT_FOUND;
	return !grpc_check(val(&answer), &ignored) &&
	       grpc_get_u64(grpc_get(val(&answer), 1), 4) == TASK_STOPPED;
}

/* It is neither gone nor reported as ended. */
static int go_on(struct pod *p, enum cri_state state, uint64_t ms, bool *over, struct k3_err *e)
{
	uint64_t left = ms < p->o->run_ms ? p->o->run_ms - ms : POLL_MS;
	bool late = p->o->timeout_ms && ms > p->o->run_ms + p->o->timeout_ms;

	if (ms >= p->o->run_ms && state == CRI_RUNNING && !has_stopped(p)) {
		*over = true;
		return 0;
	}
	if (late || (ms >= p->o->run_ms && state == CRI_UNKNOWN))
		return give_up(p, late ? CRI_CAUSE_TIMEOUT : CRI_CAUSE_RUNTIME,
			       "it neither runs nor has it ended", e);
	return k3_cancel_sleep(p->o->cancel, left < POLL_MS ? left : POLL_MS, e);
}

static int wait_running(struct pod *p, struct k3_err *e)
{
	uint64_t start = k3_now_ms();
	int rc = 0;

	for (bool over = false; !rc && !over;) {
		struct cri_container c;

		rc = look(p, &c, e);
		if (!rc && (p->out->cut || c.state == CRI_EXITED)) {
			rc = p->out->cut ? 0 : ended(p, &c, e);
			over = true;
		} else if (!rc) {
			rc = go_on(p, c.state, k3_now_ms() - start, &over, e);
		}
		cri_container_release(&c);
	}
	if (!rc)
		done(p, CRI_STEP_RUNNING);
	return rc;
}

static int run(struct pod *p, struct k3_err *e)
{
	if (find_image(p, e) || run_sandbox(p, e) || create_container(p, e) ||
	    start_container(p, e) || wait_running(p, e))
		return -1;
	p->out->ok = true;
	return 0;
}

/* ---- removal ------------------------------------------------------------------------ */

static unsigned left_ms(uint64_t end)
{
	uint64_t now = k3_now_ms();

	return now < end ? (unsigned)(end - now) : 1;
}

static int remove_one(struct pod *p, const char *id, uint64_t end, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	enum grpc_code code;

	/* Stopping kills the containers, removing removes them. */
	grpc_put_str(&m, 1, id);
	if (ask(p->own, "StopPodSandbox", &m, NULL, left_ms(end), &code, e) &&
	    code != GRPC_NOT_FOUND)
		return -1;
	if (ask(p->own, "RemovePodSandbox", &m, NULL, left_ms(end), &code, e) &&
	    code != GRPC_NOT_FOUND)
		return -1;
	return 0;
}

/* Removes what has our label, whether or not we were told that it is there. */
static int remove_ours(struct pod *p, uint64_t end, bool *any, struct k3_err *e)
{
	GRPC_AUTO_MSG struct grpc_msg m = GRPC_MSG;
	AUTO_ANSWER answer = ANSWER;
	enum grpc_code code;
	size_t filter = grpc_open(&m, 1);

	*any = false;
	grpc_put_pair(&m, 3, LABEL, p->name);
	grpc_close(&m, filter);
	if (ask(p->own, "ListPodSandbox", &m, &answer, left_ms(end), &code, e))
		return -1;
	struct grpc_val it = val(&answer), item;

	while (grpc_each(&it, 1, &item)) {
		K3_AUTO_FREE char *id = grpc_get_str(item, 1);
		bool found;

		/* Should a runtime not filter: never one that is not ours. */
		if (!grpc_eq(grpc_get_pair(item, 5, LABEL, &found), p->name))
			continue;
		*any = true;
		if (remove_one(p, id, end, e))
			return -1;
	}
	return 0;
}

static void clean_up(struct pod *p)
{
	/* Who knows the machine to be slow has said so. */
	uint64_t most = p->o->timeout_ms > REMOVE_MS ? p->o->timeout_ms : REMOVE_MS;
	uint64_t now = k3_now_ms(), end = now + most, settled = now + SETTLE_MS;
	struct k3_err e, ignored;
	bool any;

	if (!p->asked)
		return;
	p->since = now;
	for (;;) {
		int rc = remove_ours(p, end, &any, &e);

		now = k3_now_ms();
		/* Removed; or nothing there, and nothing to come. */
		if (!rc && (any || !p->unsettled || now >= settled)) {
			done(p, CRI_STEP_REMOVED);
			return;
		}
		if (rc && (now >= end || e.code == K3_BUSY))
			break;
		(void)!k3_cancel_sleep(NULL, 2 * POLL_MS, &ignored);
	}
	p->out->left = k3_xasprintf("pod %s of namespace %s: %s", p->name, NAMESPACE, said(&e));
}

static void take_log(struct pod *p)
{
	K3_AUTO_FD int fd = -1;
	struct k3_err ignored;

	if (!*p->log_dir)
		return;
	if (!k3_open_dir(AT_FDCWD, p->log_dir, &fd, &ignored))
		p->out->log = cri_log_read(fd, LOG_NAME, CRI_LOG_MAX);
	(void)!k3_remove_tree(AT_FDCWD, p->log_dir, &ignored);
	if (p->out->cause == CRI_CAUSE_EXITED)
		p->out->cause = cri_cause_of_exit(p->out->exit_code, p->out->log);
}

int cri_start(struct grpc *g, const struct cri_start_opts *o, struct cri_started *out,
	      struct k3_err *e)
{
	struct pod p = { .g = g, .o = o, .out = out };
	struct cri_version version;
	int rc;

	*out = (struct cri_started){ 0 };
	rc = cri_version(g, &version, e);
	cri_version_release(&version);
	if (rc || choose_name(&p, e) || grpc_new(grpc_socket(g), NULL, &p.own, e))
		return -1;
	grpc_header(p.own, "containerd-namespace", "k8s.io");
	make_log_dir(&p);
	p.since = k3_now_ms();
	rc = run(&p, e);
	clean_up(&p);
	take_log(&p);
	grpc_free(p.own);
	cri_runtime_release(&p.runtime);
	free(p.image_id);
	free(p.sandbox);
	free(p.container);
	return rc && out->cause == CRI_CAUSE_NONE ? -1 : 0;
}

void cri_started_release(struct cri_started *s)
{
	free(s->message);
	free(s->log);
	free(s->left);
	*s = (struct cri_started){ 0 };
}
