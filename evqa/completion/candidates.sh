
# Print what may stand in place of a word. $1: the word, $2: the one before it, then all between 'evqa' and the word.
_evqa_candidates() {
    local one
    _evqa_following "$@" | while IFS= read -r one; do
        case "$one" in "$1"*) printf '%s\n' "$one" ;; esac
    done
}

_evqa_following() {
    local word="$1" before="$2" command="${3-}"
    if [ $# -eq 2 ]; then
        _evqa_words commands
        return
    fi
    shift 3
    if [ $# -gt 0 ] && [ -n "$(_evqa_words "flags $command $1")" ]; then command="$command $1"; fi
    case "$word" in -*) _evqa_words "flags $command" ;; esac
    if _evqa_words "valued $command" | grep -q -F -x -e "$before"; then
        _evqa_words "values $command $before"
    elif _evqa_words configured | grep -q -F -x -e "$command"; then
        _evqa_settings "$word" "$@"
    elif [ $# -eq 0 ]; then
        _evqa_words "values $command"
    fi
}

# Print settings: "GROUP=", "GROUP.KEY=", or with a value; '+' and '~' stay before them. $1: the word, then those before.
_evqa_settings() {
    local marks="${1%%[!+~]*}" word begun one choice=""
    word="${1#"$marks"}" begun="$marks"
    case "$word" in *=*) begun="${1%"${1##*[=,]}"}" ;; esac
    shift
    case "$word" in
        *=*) _evqa_words "values ${word%%=*}=" ;;
        *.*)
            for one in $(_evqa_words chosen; for one in "$@"; do _evqa_words "chosen $one"; done) "$@"; do
                case "$one" in "${word%%.*}="*) choice="${one%%=*}=${one##*[=,]}" ;; esac
            done
            _evqa_words "keys $choice"
            _evqa_words plain
            ;;
        *)
            _evqa_words groups
            _evqa_words plain
            ;;
    esac | while IFS= read -r one; do
        case "$begun" in "~") one="${one%=}" ;; esac
        printf '%s\n' "$begun$one"
    done
}
