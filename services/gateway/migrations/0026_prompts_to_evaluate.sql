-- Whether other models may be asked what this request asked, by its plan when it came. False in rows of before.
ALTER TABLE request_texts ADD COLUMN may_evaluate boolean NOT NULL DEFAULT false;
