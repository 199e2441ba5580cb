"""Downloads a model's safetensors and tokenizer files from the HuggingFace hub, and prints the
folder that they are in."""

import sys

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

# No pickled weights, and no copies of the weights for other frameworks.
FILES = [
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
]

UNREACHABLE = "the hub cannot be reached; check the network and try again"


def main() -> int:
    name = sys.argv[1]
    try:
        print(snapshot_download(name, allow_patterns=FILES))
        return 0
    except (RepositoryNotFoundError, HFValidationError):
        reason = "the hub has no public model of this name"
    except HfHubHTTPError as error:
        # Without a response it never reached the hub.
        reason = (
            f"the hub answered {error.response.status_code}"
            if error.response is not None
            else UNREACHABLE
        )
    except KeyboardInterrupt:
        reason = "interrupted; run it again to go on"
    except (
        Exception
    ) as error:  # The hub's client lets the errors of several network libraries through.
        reason = f"{UNREACHABLE} ({type(error).__name__})"
    print(f"fetch-model {name}: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
