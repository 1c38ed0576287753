"""Which benchmarks count for which kind of task, and how much."""

from collections.abc import Mapping

# The categories of lumni.classifier.v1, in lower case.
CATEGORIES = (
    "chat",
    "factual_question",
    "writing",
    "summarization",
    "translation",
    "extraction",
    "code",
    "math",
    "reasoning",
    "science",
    "planning",
    "other",
)

# Weights of a category add up to whatever they do: only their shares count. `lumni.yaml` may replace any of them.
WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "chat": {"Arena-Hard": 3, "IFEval": 2, "MMLU": 1, "HellaSwag": 1, "WinoGrande": 1},
    "factual_question": {"SimpleQA": 2, "MMLU": 2, "MMLU-Pro": 3, "GPQA Diamond": 1, "TriviaQA": 1},
    "writing": {"Arena-Hard": 4, "IFEval": 2, "MMLU-Pro": 1},
    "summarization": {"IFEval": 2, "Arena-Hard": 2, "DROP": 2, "MRCR": 1},
    "translation": {"MMMLU": 3, "MGSM": 2, "Global-MMLU-Lite": 1, "Arena-Hard": 1},
    "extraction": {"IFEval": 3, "DROP": 3, "MRCR": 1, "BFCL": 1},
    "code": {"LiveCodeBench": 3, "SWE-bench Verified": 3, "Aider Polyglot": 2, "HumanEval": 1},
    "math": {"MATH-500": 2, "AIME 2025": 2, "AIME 2024": 2, "MATH": 1, "GSM8K": 1},
    "reasoning": {
        "GPQA Diamond": 2,
        "MMLU-Pro": 2,
        "BIG-Bench Hard": 2,
        "ARC-C": 1,
        "WinoGrande": 1,
        "HellaSwag": 1,
    },
    "science": {"GPQA Diamond": 3, "MMLU-Pro": 3, "HLE": 1, "MMLU": 1},
    "planning": {"IFEval": 2, "TAU-bench Retail": 2, "MMLU-Pro": 1, "BFCL": 1, "Arena-Hard": 1},
    "other": {
        "MMLU-Pro": 2,
        "IFEval": 2,
        "Arena-Hard": 2,
        "GPQA Diamond": 1,
        "LiveCodeBench": 1,
        "MATH-500": 1,
    },
    # Taken instead of the task's own where the prompt needs a long context.
    "long_context": {"MRCR": 3, "AA Long Context Reasoning": 2, "MMLU-Pro": 2, "IFEval": 1},
    # Added to the task's own where the question is not in English.
    "multilingual": {"MMMLU": 2, "MGSM": 1, "Global-MMLU-Lite": 1},
}
