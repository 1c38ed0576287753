// Vercel's AI SDK: @ai-sdk/openai speaks the Responses API by default, and chats where it is told to.
import { createOpenAI } from "@ai-sdk/openai";
import { APICallError, Output, embedMany, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { KEY, MODEL, PIXEL, QUESTION, URL, check, failsOnce, main, raises } from "./probe.mjs";

const lumni = createOpenAI({ baseURL: `${URL}/v1`, apiKey: KEY });
const DOORS = { default: (model = MODEL) => lumni(model), chat: (model = MODEL) => lumni.chat(model) };
const Weather = z.object({ city: z.string(), degrees: z.number() });

function toolsOf(called) {
  const made = (name) =>
    tool({
      description: `The ${name} of a city.`,
      inputSchema: z.object({ city: z.string() }),
      execute: async ({ city }) => (called.push([name, city]), "18 degrees"),
    });
  return { weather: made("weather"), time: made("time") };
}

async function each(run) {
  for (const [name, door] of Object.entries(DOORS)) {
    try {
      await run(door);
    } catch (error) {
      throw new Error(`${name}: ${error?.stack ?? error}`);
    }
  }
}

await main({
  plain: () =>
    each(async (door) => {
      const answer = await generateText({ model: door(), prompt: QUESTION });
      check(answer.text.startsWith("Echo What is"), answer.text);
      check(answer.usage.outputTokens > 0, answer.usage);
    }),
  stream: () =>
    each(async (door) => {
      const pieces = [];
      for await (const piece of streamText({ model: door(), prompt: QUESTION }).textStream) pieces.push(piece);
      check(pieces.join("").startsWith("Echo What is") && pieces.length > 1, pieces);
    }),
  tools: () =>
    each(async (door) => {
      const called = [];
      const answer = await generateText({
        model: door(),
        prompt: QUESTION,
        tools: toolsOf(called),
        stopWhen: stepCountIs(3),
      });
      check(called.map(([name]) => name).sort().join() === "time,weather", called);
      check(answer.text, answer.text);
    }),
  streamed_tools: () =>
    each(async (door) => {
      const called = [];
      const asked = { model: door(), prompt: QUESTION, tools: toolsOf(called), stopWhen: stepCountIs(3) };
      check(await streamText(asked).text, "text");
      check(called.length === 2, called);
    }),
  schema: () =>
    each(async (door) => {
      const output = Output.object({ schema: Weather });
      const answer = await generateText({ model: door(), prompt: QUESTION, output });
      check(answer.output.city === "text", answer.output);
    }),
  image: () =>
    each(async (door) => {
      const content = [
        { type: "text", text: "What is it?" },
        { type: "file", data: `data:image/png;base64,${PIXEL}`, mediaType: "image/png" },
      ];
      const answer = await generateText({ model: door(), messages: [{ role: "user", content }] });
      check(answer.text, answer.text);
    }),
  errors: () =>
    each(async (door) => {
      const error = await raises(APICallError, generateText({ model: door("nothing"), prompt: "hi", maxRetries: 0 }));
      check(error.statusCode === 404, error.statusCode);
    }),
  retries: () =>
    each(async (door) => {
      await failsOnce(MODEL, "503");
      check((await generateText({ model: door(), prompt: QUESTION })).text, "retried");
    }),
  abort: () =>
    each(async (door) => {
      const asked = generateText({ model: door("hangs"), prompt: "hi", abortSignal: AbortSignal.timeout(500) });
      await raises(Error, asked);
    }),
  async embeddings() {
    const made = await embedMany({ model: lumni.embedding("vectors"), values: ["one", "two"] });
    check(made.embeddings.length === 2, made.embeddings.length);
  },
});
