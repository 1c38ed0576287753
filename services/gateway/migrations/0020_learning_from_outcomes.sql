-- Learning from outcomes: which model came first for a request that may be learnt from, which ones might have, and how
-- likely each was. Only where `learning` is not off.
CREATE TABLE learning_choices (
    request_id          text NOT NULL,
    decided_at          timestamptz NOT NULL,
    key_id              text NOT NULL,
    user_id             text NOT NULL,
    organization_id     text NOT NULL,
    plan                text NOT NULL,
    category            text NOT NULL,
    -- 0 for a strong win rate below a half, 1 for the others.
    level               smallint NOT NULL,
    model               text NOT NULL,
    probability         double precision NOT NULL,
    quality             double precision NOT NULL,
    -- Without what outcomes have taught ...
    current_model       text NOT NULL,
    current_probability double precision NOT NULL,
    current_quality     double precision NOT NULL,
    -- ... and with it.
    learned_model       text NOT NULL,
    learned_probability double precision NOT NULL,
    learned_quality     double precision NOT NULL,
    -- 16 bits of a digest of the conversation and its caller, and of the conversation one turn before; null where it has
    -- none, and for an erased user.
    turn                integer,
    previous_turn       integer,
    PRIMARY KEY (request_id, decided_at)
) PARTITION BY RANGE (decided_at);
CREATE INDEX learning_choices_by_time ON learning_choices (decided_at);
CREATE INDEX learning_choices_by_user ON learning_choices (user_id);
CREATE TABLE learning_choices_other PARTITION OF learning_choices DEFAULT;

-- What a judge makes of answers, where an operator has some judged.
CREATE TABLE judgements (
    request_id text PRIMARY KEY,
    user_id    text NOT NULL,
    -- The model that judged, and how good the answer is by it.
    judge      text NOT NULL,
    share      double precision NOT NULL CHECK (share BETWEEN 0 AND 1),
    asked_at   timestamptz NOT NULL,
    judged_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX judgements_by_user ON judgements (user_id);
CREATE INDEX judgements_by_time ON judgements (asked_at);

-- Sums of outcomes by the day (UTC) of their request. What several outcomes of one user on one day count together is the
-- square root of their number.
CREATE TABLE learning_days (
    day      date NOT NULL,
    category text NOT NULL,
    level    smallint NOT NULL,
    model    text NOT NULL,
    liked    bigint NOT NULL,
    counted  bigint NOT NULL,
    -- Of the good ones, and of all.
    good     double precision NOT NULL,
    weight   double precision NOT NULL,
    PRIMARY KEY (day, category, level, model)
);
-- How much better answers are with what outcomes have taught than without, where the two differ: sums over the users of a
-- day, of weights, weighted differences, and their products.
CREATE TABLE learning_comparisons (
    day                date NOT NULL,
    category           text NOT NULL,
    counted            bigint NOT NULL,
    weight             double precision NOT NULL,
    difference         double precision NOT NULL,
    weight_squares     double precision NOT NULL,
    difference_squares double precision NOT NULL,
    products           double precision NOT NULL,
    PRIMARY KEY (day, category)
);
