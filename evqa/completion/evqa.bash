_evqa() {
    local line="${COMP_LINE:0:COMP_POINT}" word before cut one
    local -a words
    read -r -a words <<< "$line"
    if [[ $line == *[[:space:]] ]]; then words+=(""); fi
    word="${words[${#words[@]}-1]}" before="${words[${#words[@]}-2]}"
    words=("${words[@]:1:${#words[@]}-2}")
    COMPREPLY=()
    while IFS= read -r one; do
        if [[ -n $one ]]; then COMPREPLY+=("$one"); fi
    done <<< "$(_evqa_candidates "$word" "$before" "${words[@]}")"
    if [[ ${COMPREPLY[0]-} == *[=.] ]]; then compopt -o nospace 2> /dev/null; fi
    if [[ $word == *=* && $COMP_WORDBREAKS == *=* ]]; then  # readline replaces only what follows the last '='
        cut="${word%"${word##*=}"}"
        COMPREPLY=("${COMPREPLY[@]#"$cut"}")
    fi
}
complete -o default -F _evqa evqa
