#!/bin/bash
# Images named in lists and by Kubernetes manifests.
# Once: no containerd takes part.
# shellcheck source=tests/lib/all.sh
. "$(dirname "$0")/../lib/all.sh"

use_registry
R=$REGISTRY

# named NAME ARGS...: preloads into a root of its own; then says what is there.
named() {
    local root=$T/root-$1
    shift
    "$K3SIMG" preload --root "$root" --pause none --no-sync -q "$@" >"$T/out" 2>"$T/err" || {
        echo "status $?: $(cat "$T/err")"
        return
    }
    names "$root" | sed "s|^$R/||" | tr '\n' ' '
}

# refuses NAME STATUS PATTERN ARGS...: a clear line, and no root.
refuses() {
    local what=$1 status=$2 pattern=$3 out
    shift 3
    out=$("$K3SIMG" preload --root "$T/none" --pause none "$@" 2>&1)
    check_eq "$what: status" "$?" "$status"
    check_has "$what: says why" "$out" "$pattern"
    check_eq "$what: nothing is made" "$(ls -d "$T/none" 2>/dev/null)" ""
}

# ---- lists ----

printf '\357\273\277# a list\r\n\r\n%s # trailing\r\n\t%s\t# too\r\n#%s\r\n%s' \
    "$R/exit:1" "$R/static:1" "$R/zstd:1" "$R/exit:1" >"$T/list"
check_eq "-f: byte order mark, CRLF, comments, twice the same" "$(named list -f "$T/list")" "exit:1 static:1 "
check_eq "-f -: standard input" "$(named stdin -f - <"$T/list")" "exit:1 static:1 "
printf '\n%s\n%s#x\n' "$R/exit:1" "$R/exit:1" >"$T/bad"
refuses "-f: a line that is no reference" 2 "$T/bad, line 3: .*exit:1#x" -f "$T/bad"
refuses "-f: no such file" 2 'nowhere.list does not exist' -f nowhere.list
printf 'a\0b' >"$T/binary"
refuses "-f: no text" 2 "$T/binary is not a text file" -f "$T/binary"
refuses "standard input twice" 2 'standard input .* only once' -f - --from-manifest - </dev/null
refuses "no image at all" 2 'no image was named'

# ---- lists that come with k3simg ----

mkdir -p "$T/inst/bin" "$T/inst/share/k3simg/images"
cp "$K3SIMG" "$T/inst/bin/k3simg"
echo "$R/exit:1" >"$T/inst/share/k3simg/images/ours-v1.list"
(cd "$T" && K3SIMG=$T/inst/bin/k3simg named shipped -f ours-v1) >"$T/got"
check_eq "-f NAME: a list installed beside the program" "$(cat "$T/got")" "exit:1 "
echo "$R/static:1" >"$T/inst/ours-v1"
(cd "$T/inst" && K3SIMG=$T/inst/bin/k3simg named local -f ours-v1) >"$T/got"
check_eq "-f NAME: a file here goes first" "$(cat "$T/got")" "static:1 "

for list in "$(dirname "$0")"/../../images/*.list; do
    sed 's/ *#.*//; /^$/d' "$list" >"$T/plain"
    check "images/${list##*/}: every line is a reference" \
        test "$(grep -cE '^[a-z0-9./-]+:[A-Za-z0-9._-]+$' "$T/plain")" = "$(wc -l <"$T/plain")"
done

# ---- manifests ----

cat >"$T/all.yaml" <<YAML
# a Deployment, a CronJob and what has no image
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      initContainers:
      - {name: init, image: "$R/exit:1"}
      containers:
      - name: main
        image: $R/static:1
      volumes:
      - name: data
        image: {reference: "$R/zstd:1"}
---
apiVersion: v1
kind: Service
metadata: {name: web}
---
apiVersion: batch/v1
kind: CronJob
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: c, image: "$R/exit:1"}]}}}}}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: w}
spec: {image: "$R/nginx:7"}
YAML
cat >"$T/pods.json" <<JSON
{"kind": "List", "apiVersion": "v1", "metadata": {"note": "\\ud83d\\ude00"}, "items": [
	{"kind": "Pod", "apiVersion": "v1", "spec": {"containers": [{"image": "$R/multi:1"}],
	 "ephemeralContainers": [{"image": "$R/docker2:1"}]}}]}
JSON
check_eq "--from-manifest: YAML" "$(named yaml --from-manifest "$T/all.yaml")" "exit:1 static:1 zstd:1 "
check_has "--from-manifest: tells of kinds it does not know" "$(cat "$T/err")" \
    "warning: $T/all.yaml, line 25: Widget \"w\" is of no kind"
check_eq "--from-manifest: JSON on standard input, YAML, a list and a name, each image once" \
    "$(named both --from-manifest - --from-manifest "$T/all.yaml" -f "$T/list" "$R/exit:1" <"$T/pods.json")" \
    "docker2:1 exit:1 multi:1 static:1 zstd:1 "
check_eq "--from-manifest: JSON" "$(named json --from-manifest "$T/pods.json")" "docker2:1 multi:1 "

printf 'apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: %s\n  - image: UPPER\n' "$R/exit:1" >"$T/p.yaml"
refuses "--from-manifest: no reference" 2 "$T/p.yaml: line 6: .*UPPER" --from-manifest "$T/p.yaml"
printf 'apiVersion: v1\nkind: Pod\nspec: [\n' >"$T/p.yaml"
refuses "--from-manifest: no YAML" 6 "$T/p.yaml: line 4, column 1" --from-manifest "$T/p.yaml"
printf 'apiVersion: v1\nkind: ConfigMap\n' >"$T/p.yaml"
refuses "--from-manifest: no image" 2 "$T/p.yaml names no image" --from-manifest "$T/p.yaml"
printf 'apiVersion: helm.cattle.io/v1\nkind: HelmChart\nmetadata: {name: traefik}\n' >"$T/p.yaml"
refuses "--from-manifest: a chart" 2 'hint: .*helm template' --from-manifest "$T/p.yaml"
printf 'image: nginx\nreplicas: 3\n' >"$T/p.yaml"
refuses "--from-manifest: values of a chart" 6 'no object of Kubernetes: it has no kind' --from-manifest "$T/p.yaml"
"$PYTHON" - >"$T/laughs.yaml" <<'PY'
print("a: &a [l,l,l,l,l,l,l,l,l]")
for last, name in zip("abcdefgh", "bcdefghi"):
    print("%s: &%s [%s]" % (name, name, ",".join(["*" + last] * 9)))
print("apiVersion: v1\nkind: List\nitems: *i")
PY
refuses "--from-manifest: a billion laughs" 6 'no object of Kubernetes' --from-manifest "$T/laughs.yaml"

finish
