"""What is known of providers before anybody says anything of them; docs/providers.md is made from it.

Each is held to its own documentation, and to what its users ran into: where a server refuses what OpenAI's takes,
it stands here.
"""

from chatllm_cli.frozen import frozen

OPENAI = "openai"


@frozen
class KnownProvider:
    """One provider with an OpenAI-compatible API, and where it differs from what nearly all of them take."""

    base_url: str
    key_variable: str = ""  # where its users keep the key; none for a server on this machine, which asks for none
    default_model: str = ""  # asked where only its key is set up
    max_tokens_field: str = "max_tokens"  # the name that nearly every compatible server understands
    seed_field: str = "seed"
    marks_end: bool = True  # whether it always says why an answer ended
    takes_schema: bool = False  # whether any of its models can be held to a JSON Schema
    takes_usage_wish: bool = True  # whether it may be asked for token counts; else it sends them unasked, or refuses
    lists_openly: bool = False  # whether it shows them to anybody, whatever the key
    lists_with: tuple[tuple[str, str], ...] = ()  # headers that its list of models wants
    lists_by: str = "Authorization"  # and the header that has the key then

    @property
    def is_local(self) -> bool:
        """Whether it is a server that people run on their own machine."""
        return not self.key_variable


UNKNOWN = KnownProvider("", marks_end=False)

KNOWN: dict[str, KnownProvider] = {
    OPENAI: KnownProvider(
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
        default_model="gpt-4o-mini",
        max_tokens_field="max_completion_tokens",
        takes_schema=True,
    ),
    "openrouter": KnownProvider("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY", lists_openly=True),
    "groq": KnownProvider("https://api.groq.com/openai/v1", "GROQ_API_KEY", max_tokens_field="max_completion_tokens"),
    # It refuses every field that it does not know: stream_options, max_completion_tokens, seed.
    "mistral": KnownProvider(
        "https://api.mistral.ai/v1",
        "MISTRAL_API_KEY",
        seed_field="random_seed",
        takes_schema=True,
        takes_usage_wish=False,
    ),
    "deepseek": KnownProvider("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "gemini": KnownProvider(
        "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY", takes_schema=True
    ),
    "anthropic": KnownProvider(
        "https://api.anthropic.com/v1",
        "ANTHROPIC_API_KEY",
        lists_with=(("anthropic-version", "2023-06-01"),),
        lists_by="x-api-key",
    ),
    "xai": KnownProvider(
        "https://api.x.ai/v1", "XAI_API_KEY", max_tokens_field="max_completion_tokens", takes_schema=True
    ),
    "together": KnownProvider("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "ollama": KnownProvider("http://127.0.0.1:11434/v1", takes_schema=True),
    "lmstudio": KnownProvider("http://127.0.0.1:1234/v1", takes_schema=True),
    "vllm": KnownProvider("http://127.0.0.1:8000/v1", takes_schema=True),
    "llamacpp": KnownProvider("http://127.0.0.1:8080/v1", takes_schema=True),
}
SELF_ANNOUNCING = ("ollama", "lmstudio")  # listed without being set up, if they answer: their ports are theirs alone
