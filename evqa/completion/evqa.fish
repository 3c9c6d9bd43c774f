function _evqa_candidates
    set -l words (commandline -opc)
    sh -c "$_evqa_script"' _evqa_candidates "$@"' evqa (commandline -ct) $words[-1] $words[2..]
end
function _evqa_has_candidates
    set -l found (_evqa_candidates)
    set -q found[1]
end
complete -c evqa -f -n _evqa_has_candidates -a '(_evqa_candidates)'  # where there are none, fish offers files
