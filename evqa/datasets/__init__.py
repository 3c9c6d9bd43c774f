"""Where records come from: tables of ids, texts and labels beside folders of media files."""
