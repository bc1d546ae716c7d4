from chatllm_cli.services.imports.service import Imports, Read

__all__ = ["Imports", "Read"]
