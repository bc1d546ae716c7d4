"""Files, folders, pages and what comes on stdin, as attachments of a prompt."""
