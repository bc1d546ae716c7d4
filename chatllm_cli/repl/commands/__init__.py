"""What the slash commands do, by what they are about; the table of them is in `repl/slash_commands.py`."""
