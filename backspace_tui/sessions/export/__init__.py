"""A session as one file: to read (Markdown), to step through (HTML), to play (cast), to import again (JSONL)."""
