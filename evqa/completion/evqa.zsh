_evqa() {
    local -a found
    found=("${(@f)$(_evqa_candidates "$PREFIX" "${words[CURRENT-1]}" "${(@)words[2,CURRENT-1]}")}")
    if [[ -z $found ]]; then
        compset -P '*='
        _files
        return
    fi
    compadd -S '' -- "${(@M)found:#*[=.]}"
    compadd -- "${(@)found:#*[=.]}"
}
if [[ ${funcstack[1]} == _evqa ]]; then _evqa "$@"; else compdef _evqa evqa; fi
