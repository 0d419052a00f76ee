/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/unit.h"

#include "base/buf.h"
#include "kube/kube.h"

/* What was found, as text: "image@line " and "!kind what name@line ". */
struct found {
	char text[4096];
	size_t n;
	const char *refuse; /* an image that the visitor does not take */
};

static int image(void *arg, const char *text, unsigned line, struct k3_err *e)
{
	struct found *f = arg;

	f->n++;
	if (f->refuse && !strcmp(f->refuse, text))
		return k3_fail(e, K3_USAGE, "no");
	size_t used = strlen(f->text);

	snprintf(f->text + used, sizeof(f->text) - used, "%s@%u ", text, line);
	return 0;
}

static void note(void *arg, const struct kube_note *n)
{
	static const char *const kinds[] = { [KUBE_UNKNOWN_KIND] = "unknown",
					     [KUBE_HELM_CHART] = "chart",
					     [KUBE_NO_IMAGE] = "imageless" };
	struct found *f = arg;
	size_t used = strlen(f->text);

	snprintf(f->text + used, sizeof(f->text) - used, "!%s %s %s@%u ", kinds[n->kind], n->what,
		 n->name, n->line);
}

static int look(const char *text, struct found *f, struct k3_err *e)
{
	const struct kube_visitor v = { .image = image, .note = note, .arg = f };

	return kube_images(text, strlen(text), &v, e);
}

static void finds(const char *text, const char *want)
{
	struct found f = { 0 };
	struct k3_err err;

	OK(look(text, &f, &err));
	EQ_STR(f.text, want);
}

static void is_bad(const char *text, const char *why)
{
	struct found f = { 0 };
	struct k3_err err;

	FAILS(look(text, &f, &err), K3_FORMAT);
	HAS_STR(err.msg, why);
}

TEST(every_place_in_a_pod)
{
	finds("apiVersion: v1\n"
	      "kind: Pod\n"
	      "spec:\n"
	      "  containers:\n"
	      "  - name: a\n"
	      "    image: one\n"
	      "  - {name: b, image: \"two:2\"}\n"
	      "  initContainers: [{image: three}]\n"
	      "  ephemeralContainers:\n"
	      "  - image: four@sha256:00\n"
	      "  volumes:\n"
	      "  - name: v\n"
	      "    image:\n"
	      "      reference: five\n"
	      "  - {name: w, emptyDir: {}}\n"
	      "  - {name: x, image: {pullPolicy: Never}}\n",
	      "three@8 one@6 two:2@7 four@sha256:00@10 five@14 ");
}

TEST(every_workload)
{
	static const char *const kinds[][2] = {
		{ "apps/v1", "Deployment" },          { "apps/v1", "ReplicaSet" },
		{ "apps/v1beta2", "StatefulSet" },    { "apps/v1", "DaemonSet" },
		{ "v1", "ReplicationController" },    { "batch/v1", "Job" },
		{ "extensions/v1beta1", "DaemonSet" }
	};
	char text[256];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		snprintf(text, sizeof(text),
			 "apiVersion: %s\nkind: %s\n"
			 "spec: {template: {spec: {containers: [{image: x}]}}}\n",
			 kinds[i][0], kinds[i][1]);
		finds(text, "x@3 ");
	}
	finds("apiVersion: batch/v1\nkind: CronJob\n"
	      "spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: x}]}}}}}\n",
	      "x@3 ");
	finds("{apiVersion: v1, kind: PodTemplate, template: {spec: {containers: [{image: x}]}}}",
	      "x@1 ");
}

TEST(lists)
{
	finds("apiVersion: v1\nkind: List\nitems:\n"
	      "- {apiVersion: v1, kind: Pod, spec: {containers: [{image: a}]}}\n"
	      "- apiVersion: v1\n  kind: List\n  items:\n"
	      "  - {apiVersion: v1, kind: Pod, spec: {containers: [{image: b}]}}\n"
	      "- {apiVersion: v1, kind: Service}\n",
	      "a@4 b@8 ");
	/* as the API server answers: items have no kind */
	finds("{apiVersion: v1, kind: PodList, items: [{spec: {containers: [{image: a}]}}]}",
	      "a@1 ");
	finds("{apiVersion: apps/v1, kind: DeploymentList, items: "
	      "[{spec: {template: {spec: {containers: [{image: a}]}}}}]}",
	      "a@1 ");
	finds("{apiVersion: v1, kind: List, items: null}", "");
	is_bad("apiVersion: v1\nkind: List\nitems:\n- {spec: 1}\n", "line 4: no object");
	is_bad("apiVersion: v1\nkind: List\nitems: {}\n", "line 3: items is no list");
}

TEST(documents_and_json)
{
	finds("# nothing\n---\n---\napiVersion: v1\nkind: Pod\nspec: {containers: [{image: a}]}\n"
	      "---\n{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"spec\":{\"containers\":[{\"image\":"
	      "\"b\"}]}}\n...\n",
	      "a@6 b@8 ");
	finds("{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Pod\",\n\t\"metadata\": "
	      "{\"annotations\": "
	      "{\"a\": \"\\ud83d\\ude00\"}},\n\t\"spec\": {\"containers\": [{\"image\": "
	      "\"b\"}]}\n}",
	      "b@5 ");
	finds("", "");
}

TEST(shared_by_anchors)
{
	finds("apiVersion: v1\nkind: Pod\nspec:\n  containers:\n"
	      "  - &a {name: a, image: one}\n  - {<<: *a, name: b}\n  - *a\n",
	      "one@5 one@5 one@5 ");
}

TEST(what_is_not_known_is_told)
{
	finds("apiVersion: example.com/v1\nkind: Deployment\nmetadata: {name: x}\n"
	      "spec: {template: {spec: {containers: [{image: a}]}}}\n"
	      "--- {apiVersion: helm.cattle.io/v1, kind: HelmChart, metadata: {name: traefik}}\n"
	      "--- {apiVersion: jobset.x-k8s.io/v1, kind: JobSet}\n"
	      "--- {apiVersion: v1, kind: ConfigMap, data: {image: b}}\n"
	      "--- {apiVersion: rbac.authorization.k8s.io/v1, kind: Role}\n"
	      "--- {apiVersion: v1, kind: Pod, spec: {containers: [{name: c}, {image: ''}]}}\n",
	      "!unknown Deployment x@1 !chart HelmChart traefik@5 !unknown JobSet @6 "
	      "!imageless  c@9 !imageless  @9 ");
}

TEST(refuses)
{
	is_bad("a: [", "line 2");
	is_bad("- a\n", "line 1: no object of Kubernetes: it is no mapping");
	is_bad("text", "line 1: no object of Kubernetes");
	is_bad("image: nginx\n", "it has no kind");
	is_bad("kind: Pod\n", "it has no apiVersion");
	is_bad("kind: [Pod]\n", "line 1: kind is no string");
	is_bad("apiVersion: v1\nkind: Pod\nspec: []\n", "line 3: spec is no mapping");
	is_bad("apiVersion: v1\nkind: Pod\nspec:\n  containers: {}\n",
	       "line 4: containers is no list");
	is_bad("apiVersion: v1\nkind: Pod\nspec:\n  containers: [a]\n",
	       "line 4: a container that is no mapping");
	is_bad("apiVersion: v1\nkind: Pod\nspec:\n  containers: [{image: [a]}]\n",
	       "line 4: image is no string");
	is_bad("apiVersion: v1\nkind: Pod\nspec:\n  volumes: [{image: a}]\n",
	       "line 4: image is no mapping");
	is_bad("apiVersion: apps/v1\nkind: Deployment\nspec: {template: x}\n",
	       "line 3: template is no mapping");
}

TEST(errors_of_the_visitor_have_the_line)
{
	struct found f = { .refuse = "b" };
	struct k3_err err;

	FAILS(look("apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: a\n  - image: b\n",
		   &f, &err),
	      K3_USAGE);
	EQ_STR(err.msg, "line 6: no");
	EQ_INT(f.n, 2);
}

TEST(laughs_are_limited)
{
	K3_AUTO_BUF struct k3_buf b = K3_BUF(1 << 20);
	struct found f = { 0 };
	struct k3_err err;

	OK(k3_buf_addf(&b, &err, "a: &l0 {apiVersion: v1, kind: ConfigMap}\n"));
	for (int i = 1; i < 8; i++) {
		OK(k3_buf_addf(&b, &err, "a%d: &l%d {apiVersion: v1, kind: List, items: [", i, i));
		for (int j = 0; j < 10; j++)
			OK(k3_buf_addf(&b, &err, "*l%d, ", i - 1));
		OK(k3_buf_addf(&b, &err, "]}\n"));
	}
	OK(k3_buf_addf(&b, &err, "apiVersion: v1\nkind: List\nitems: [*l7]\n"));
	FAILS(look((const char *)b.p, &f, &err), K3_LIMIT);
	HAS_STR(err.msg, "600000 objects");
	k3_buf_reset(&b);
	for (int i = 0; i < 12; i++)
		OK(k3_buf_addf(&b, &err, "{apiVersion: v1, kind: List, items: ["));
	for (int i = 0; i < 12; i++)
		OK(k3_buf_addf(&b, &err, "]}"));
	FAILS(look((const char *)b.p, &f, &err), K3_LIMIT);
	HAS_STR(err.msg, "8 nested lists");
}

/* ---- what a pod says of its containers ------------------------------------------------------ */

static const char *text(const struct kube_text *t)
{
	return t->s ? t->s : "-";
}

/* "role kind/object name image policy command args path workdir mounts user …; " */
static int describe(void *arg, const struct kube_container *c, struct k3_err *e)
{
	struct found *f = arg;
	size_t used = strlen(f->text);

	(void)e;
	snprintf(f->text + used, sizeof(f->text) - used,
		 "%d %s/%s %s %s@%u %s@%u [%zu %s%s] [%zu%s] %s@%u %s [%zu] %s %d %u %s %s/%s %d; ",
		 c->role, c->kind, c->object, c->name, text(&c->image), c->image.line,
		 text(&c->pull_policy), c->pull_policy.line, c->command.n,
		 c->command.n ? c->command.v[0].s : "", c->command.set ? "" : "unset", c->args.n,
		 c->args.set ? "" : " unset", text(&c->path), c->path.line, text(&c->workdir),
		 c->mounts.n, text(&c->user), c->non_root, c->security_line,
		 text(&c->runtime_class), text(&c->node_os), text(&c->node_arch), c->pull_secrets);
	return 0;
}

static int look_closely(const char *yaml, struct found *f, struct k3_err *e)
{
	const struct kube_visitor v = { .note = note, .container = describe, .arg = f };

	return kube_images(yaml, strlen(yaml), &v, e);
}

static void describes(const char *yaml, const char *want)
{
	struct found f = { 0 };
	struct k3_err err;

	OK(look_closely(yaml, &f, &err));
	EQ_STR(f.text, want);
}

TEST(facts_of_containers)
{
	describes("apiVersion: apps/v1\n"
		  "kind: Deployment\n"
		  "metadata: {name: web}\n"
		  "spec:\n"
		  "  template:\n"
		  "    spec:\n"
		  "      runtimeClassName: kata\n"
		  "      nodeSelector: {kubernetes.io/arch: arm64}\n"
		  "      os: {name: linux}\n"
		  "      imagePullSecrets: [{name: key}]\n"
		  "      securityContext: {runAsUser: 1000, runAsNonRoot: true}\n"
		  "      initContainers: [{name: i, image: a, command: [], args: [x, y]}]\n"
		  "      containers:\n"
		  "      - name: m\n"
		  "        image: b\n"
		  "        imagePullPolicy: Always\n"
		  "        command: [sh, -c]\n"
		  "        workingDir: /srv\n"
		  "        env:\n"
		  "        - {name: PATH, value: /old}\n"
		  "        - {name: PATH, value: /bin}\n"
		  "        securityContext:\n"
		  "          runAsUser: 0\n"
		  "          runAsNonRoot: false\n"
		  "        volumeMounts: [{name: v, mountPath: /data}]\n"
		  "      volumes: [{name: v, image: {reference: c, pullPolicy: Never}}]\n",
		  "0 Deployment/web i a@12 -@0 [0 ] [2] -@0 - [0] 1000 2 0 kata linux/arm64 1; "
		  "1 Deployment/web m b@15 Always@16 [2 sh] [0 unset] /bin@21 /srv [1] 0 1 23 kata "
		  "linux/arm64 1; "
		  "3 Deployment/web v c@26 Never@26 [0 unset] [0 unset] -@0 - [0] - 0 0 kata "
		  "linux/arm64 1; ");
	describes("{apiVersion: v1, kind: Pod, spec: {containers: [{image: a, env: [{name: PATH, "
		  "valueFrom: {}}]}], ephemeralContainers: [{image: b, env: [{name: PATH}]}]}}",
		  "1 Pod/  a@1 -@0 [0 unset] [0 unset] -@1 - [0] - 0 0 - -/- 0; "
		  "2 Pod/  b@1 -@0 [0 unset] [0 unset] @1 - [0] - 0 0 - -/- 0; ");
}

TEST(facts_of_wrong_types)
{
	static const char *const members[] = {
		"command: x",        "args: [[]]",         "env: 1",
		"workingDir: []",    "securityContext: 1", "securityContext: {runAsNonRoot: 7}",
		"volumeMounts: [1]", "imagePullPolicy: {}"
	};
	char yaml[256];

	for (size_t k = 0; k < sizeof(members) / sizeof(members[0]); k++) {
		struct found f = { 0 };
		struct k3_err err;

		snprintf(yaml, sizeof(yaml),
			 "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - {image: a, %s}\n",
			 members[k]);
		FAILS(look_closely(yaml, &f, &err), K3_FORMAT);
		HAS_STR(err.msg, "line 5: ");
		/* Whoever wants images alone is not bothered. */
		finds(yaml, "a@5 ");
	}
}

UNIT_MAIN
