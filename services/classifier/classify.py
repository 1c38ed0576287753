"""Judge a conversation: a score, a category, and the reasons in words."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from services.chassis.draws import fraction
from services.classifier import heads, words
from services.classifier.embedding import Embedder
from services.classifier.features import INDEX, Observation, observe
from services.classifier.heads import CATEGORIES, SUBJECTS, Heads
from services.classifier.reading import Reading
from services.classifier.reasons import Factor, Joined, explain
from services.classifier.stack import VERSION, Encodes, Opinion, Stack

# Classifications remembered by one version; about 2 KiB each.
REMEMBERED = 4096
# A subject is named when it is at least so probable, and so probable among the subjects, and the task of a kind that
# has one. The first is low: exam questions, which subjects are learnt from, are worded unlike requests.
SUBJECT_PROBABILITY, SUBJECT_SHARE = 0.08, 0.5
ACADEMIC = frozenset(("factual question", "math", "reasoning", "science"))


@dataclass(frozen=True, slots=True)
class Classification:
    """What a selection needs to know about a request.

    Attributes:
        powerful: Whether the score reaches the default threshold.
        category: One of heads.CATEGORIES.
        subject: One of heads.SUBJECTS; empty when there is none.
        strong_win_rate: Probability that a powerful model is needed.
        confidence: Probability of the category.
        language: BCP 47; empty when unknown.
        prompt_tokens: An estimate.
        long_context: Whether a long context window is needed.
        factors: What decided, the largest contribution first.
        version: The version that judged; of one with an encoder that was not asked, the weights.
        truncated: Whether something of the question went unread.
        features: What was counted, in the order of features.NAMES.
    """

    powerful: bool
    category: str
    subject: str
    strong_win_rate: float
    confidence: float
    language: str
    prompt_tokens: int
    long_context: bool
    factors: tuple[Factor, ...]
    version: str
    truncated: bool
    features: heads.Array = field(repr=False)


class Seen:
    """Conversations and their observations, which several versions judge without observing them again.

    Attributes:
        keys: Digests of the conversations, in their order.
        readings: The conversations by digest.
        opinions: What a sentence encoder says of those that it was asked about; None where it cannot say.
    """

    def __init__(self, readings: Sequence[Reading], embedder: Embedder) -> None:
        """Take conversations; nothing is observed before a version asks for it."""
        self.keys = [reading.digest() for reading in readings]
        self.readings = dict(zip(self.keys, readings, strict=True))
        self.opinions: dict[bytes, Opinion | None] = {}
        self._embedder = embedder
        self._observations: dict[bytes, Observation] = {}

    def observation(self, key: bytes) -> Observation:
        """The observation of the conversation with a digest."""
        found = self._observations.get(key)
        if found is None:
            found = self._observations[key] = observe(self.readings[key], self._embedder)
        return found


class Classifier:
    """One version of the weights, and the classifications it remembers."""

    def __init__(
        self,
        weights: Heads,
        embedder: Embedder,
        *,
        threshold: float | None = None,
        deep: tuple[Encodes, Stack] | None = None,
    ) -> None:
        """Judge by `weights`, and by a sentence encoder where there is one.

        Args:
            weights: The heads.
            embedder: Of exam questions.
            threshold: Replaces the score from which the weights' default tier is powerful.
            deep: A sentence encoder, and how its opinions are joined with those of the heads.
        """
        self.weights = weights
        self.version = weights.version if deep is None else VERSION
        self.encoder: Encodes | None = None
        self._stack: Stack | None = None
        if deep is not None:
            self.encoder, self._stack = deep
        self._embedder = embedder
        self._vectors = words.Vectors(weights.tables)
        self._threshold = weights.threshold if threshold is None else threshold
        self._known: OrderedDict[bytes, Classification] = OrderedDict()

    def classify(self, readings: Sequence[Reading]) -> list[Classification]:
        """Judge conversations, in their order; equal ones are judged once."""
        seen = self.look(readings)
        if self.encoder is not None:
            for key, text in self.texts(seen).items():
                seen.opinions[key] = self.encoder.read(text)
        return self.judge(seen)

    def embed(self, text: str) -> Sequence[float]:
        """What a text is about, as a vector; of a long text its beginning and its end."""
        vector: list[float] = self._embedder.embed_text(text).tolist()
        return vector

    def look(self, readings: Sequence[Reading]) -> Seen:
        """Conversations that this and other versions are about to judge."""
        return Seen(readings, self._embedder)

    def texts(self, seen: Seen) -> Mapping[bytes, str]:
        """What the encoder is to be asked about before `judge`, by digest; nothing for a version without one."""
        if self.encoder is None:
            return {}
        asked = [key for key in seen.readings if key not in self._known and key not in seen.opinions]
        return {key: seen.observation(key).text for key in asked}

    def judge(self, seen: Seen) -> list[Classification]:
        """Judge conversations that other versions judge as well, in their order.

        A version with an encoder judges what the encoder was not asked about by its heads, in the name of their
        weights, and does not remember it.
        """
        new = [key for key in seen.readings if key not in self._known]
        found = dict(zip(new, self._judge(seen, new), strict=True)) if new else {}
        results = []
        for key in seen.keys:
            classification = found.get(key)
            if classification is None:
                classification = self._known[key]
                self._known.move_to_end(key)
            results.append(classification)
        if self.encoder is not None:
            found = {key: one for key, one in found.items() if key in seen.opinions}
        self._known.update(found)
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return results

    def _judge(self, seen: Seen, keys: Sequence[bytes]) -> list[Classification]:
        observations = [seen.observation(key) for key in keys]
        parts, judgement = self._heads(observations)
        return [
            self._classification(judgement, number, seen, key, parts[number])
            for number, key in enumerate(keys)
        ]

    def _heads(self, observations: Sequence[Observation]) -> tuple[list[list[heads.Array]], heads.Judgement]:
        parts = [self._vectors.parts(observation.words) for observation in observations]
        said = [[words.mean(sums) for sums in own] for own in parts]
        return parts, heads.judge(self.weights, observations, said, self._embedder)

    def judgement(self, observations: Sequence[Observation]) -> heads.Judgement:
        """What the heads alone say of observations."""
        return self._heads(observations)[1]

    def _classification(
        self,
        judgement: heads.Judgement,
        number: int,
        seen: Seen,
        key: bytes,
        parts: Sequence[heads.Array],
    ) -> Classification:
        reading, observation, opinion = seen.readings[key], seen.observation(key), seen.opinions.get(key)
        score, shares = float(judgement.score[number]), judgement.category[number]
        joined = None
        if self._stack is not None and opinion is not None:
            joined = Joined(self._stack.score(score, opinion), self._stack.heads)
            shares = self._stack.shares(shares, opinion)
        rate = heads.sigmoid(joined.score if joined else score)
        best = int(shares.argmax())
        subjects = judgement.subject[number][: len(SUBJECTS)]
        subject = int(subjects.argmax())
        named = (
            subjects[subject] >= max(SUBJECT_PROBABILITY, SUBJECT_SHARE * subjects.sum())
            and CATEGORIES[best] in ACADEMIC
        )
        factors = explain(self.weights, judgement, number, shares, observation, parts, joined)
        return Classification(
            powerful=rate >= self._threshold,
            category=CATEGORIES[best],
            subject=SUBJECTS[subject] if named else "",
            strong_win_rate=rate,
            confidence=float(shares[best]) if observation.features[INDEX["chars"]] > 0 else 0.0,
            language=observation.language,
            prompt_tokens=reading.prompt_tokens,
            long_context=reading.long_context,
            factors=factors,
            version=self.version if key in seen.opinions else self.weights.version,
            truncated=reading.truncated,
            features=observation.features,
        )


def deepened(embedder: Embedder, encoder: Encodes, threshold: float | None = None) -> Classifier:
    """The version that asks a sentence encoder beside the package's own heads.

    Raises:
        ValueError: weights that cannot be read.
    """
    weights = heads.load(heads.COMMITTED / "v1.npz")
    return Classifier(weights, embedder, threshold=threshold, deep=(encoder, Stack.load()))


class Versions:
    """Several versions of the weights side by side, each for its share of the requests."""

    def __init__(self, shares: Sequence[tuple[Classifier, float]]) -> None:
        """Give each classifier its share.

        Raises:
            ValueError: shares that are no numbers, negative, or do not add up to 1.
        """
        # Put so that NaN is refused as well.
        if not (
            all(share >= 0 for _, share in shares) and abs(sum(share for _, share in shares) - 1) <= 1e-6
        ):
            raise ValueError("the shares of the versions must not be negative and must add up to 1")
        bounds = np.cumsum([share for _, share in shares])
        self._shares = [
            (classifier, float(bound)) for (classifier, _), bound in zip(shares, bounds, strict=True)
        ]

    def of(self, request_id: str) -> Classifier:
        """The version for a request: the same one in every replica and at every call."""
        at = fraction(request_id)
        return next((classifier for classifier, bound in self._shares if at < bound), self._shares[-1][0])
