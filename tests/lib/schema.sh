# shellcheck shell=bash
# JSON against its published schema.  Source common.sh, check.sh and install.sh first.

# schema NAME FILE: FILE (- is standard input) is one document as docs/schema/NAME.json has it.
schema() {
    install_packages python3-jsonschema && "$PYTHON" "$LIB/schema.py" "$1" "$2"
}
