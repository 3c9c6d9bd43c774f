"""Names of media files: the suffixes by which folders are searched, in the order in which they are preferred.

They belong to the containers that `evqa.media.container` opens and the images that `evqa.media.image` decodes; a file
that is given by itself may have any name.
"""

VIDEO = (
    *(".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".ts", ".mpg", ".mpeg", ".flv", ".wmv", ".3gp", ".ogv"),
    *(".m2ts", ".mts", ".3g2", ".asf", ".f4v", ".mk3d", ".m1v", ".m2v", ".vob", ".ogm", ".rm", ".rmvb", ".dv", ".mxf"),
    *(".nut", ".h264", ".264", ".h265", ".265", ".hevc", ".ivf", ".obu", ".mj2"),
)
AUDIO = (
    *(".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus"),
    *(".oga", ".mka", ".wma", ".aiff", ".aif", ".au", ".caf", ".w64", ".ac3", ".eac3", ".amr", ".ape", ".wv", ".tta"),
)
IMAGE = (".png", ".jpg", ".jpeg", ".webp")
MEDIA = VIDEO + AUDIO + IMAGE

# Of those, the ones that soundfile reads; all others are containers for FFmpeg.
SOUNDFILE = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64"})
