# bash completion for k3simg                                -*- shell-script -*-
# shellcheck shell=bash
# k3simg itself knows what fits: see "k3simg completion --help".

# The words of the command line up to the cursor, as they were written: readline also splits
# them at ":" and "=".
_k3simg_words() {
    local rest=${COMP_LINE:0:COMP_POINT} i word
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $i = 0 || $rest = [[:blank:]]* ]]; then
            rest=${rest#"${rest%%[![:blank:]]*}"}
            words+=("")
        fi
        [[ $i -lt $COMP_CWORD ]] || word=$rest
        words[-1]+=$word
        rest=${rest#"$word"}
    done
}

_k3simg() {
    local words line word cur lead what prefix files file
    COMPREPLY=()
    _k3simg_words
    cur=${words[-1]}
    # Readline replaces only what is behind the last of its break characters.
    lead=${cur%"${cur##*["${COMP_WORDBREAKS//[^:=]/}"$'\n']}"}
    while IFS= read -r line; do
        word=${line%%$'\t'*}
        case $word in
        :*)
            prefix=${word#* } what=-f
            [ "${word%% *}" != :dirs ] || what=-d
            mapfile -t files < <(compgen "$what" -- "${cur#"$prefix"}")
            for file in "${files[@]}"; do
                file=$prefix$file
                COMPREPLY+=("${file#"$lead"}")
            done
            compopt -o filenames 2>/dev/null
            ;;
        *) COMPREPLY+=("${word#"$lead"}") ;;
        esac
    done < <("$1" completion answer -- "${words[@]:1}" 2>/dev/null)
    case ${#COMPREPLY[@]}${COMPREPLY[0]-} in
    1*:) compopt -o nospace 2>/dev/null ;;
    esac
}

complete -F _k3simg k3simg
