// OpenAI's SDK for Node: chat completions, responses, embeddings.
import OpenAI from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { KEY, MODEL, PARAMETERS, PIXEL, QUESTION, URL, check, failsOnce, main, raises } from "./probe.mjs";

const options = { baseURL: `${URL}/v1`, apiKey: KEY };
const client = new OpenAI(options);
const messages = [{ role: "user", content: QUESTION }];
const Weather = z.object({ city: z.string(), degrees: z.number() });
const tools = ["get_weather", "get_time"].map((name) => ({
  type: "function",
  function: { name, parameters: PARAMETERS },
}));

await main({
  async plain() {
    const answer = await client.chat.completions.create({ model: MODEL, messages });
    check(answer.choices[0].message.content.startsWith("Echo What is"), answer);
    check(answer.lumni.cost.nano_usd > 0, answer.lumni);
  },
  async stream() {
    const stream = await client.chat.completions.create({ model: MODEL, messages, stream: true });
    let text = "";
    for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
    check(text.startsWith("Echo What is"), text);
  },
  async tools() {
    const { choices } = await client.chat.completions.create({ model: MODEL, messages, tools });
    const calls = choices[0].message.tool_calls;
    check(calls.map((call) => call.function.name).join() === "get_weather,get_time", calls);
    const results = calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: "18 degrees" }));
    const answered = await client.chat.completions.create({
      model: MODEL,
      messages: [...messages, choices[0].message, ...results],
      tools,
    });
    check(answered.choices[0].message.content, answered);
  },
  async streamed_tools() {
    const stream = client.chat.completions.stream({ model: MODEL, messages, tools });
    const calls = (await stream.finalMessage()).tool_calls;
    check(calls.map((call) => call.function.arguments).join() === '{"city":"text"},{"city":"text"}', calls);
  },
  async schema() {
    const answer = await client.chat.completions.parse({
      model: MODEL,
      messages,
      response_format: zodResponseFormat(Weather, "weather"),
    });
    check(answer.choices[0].message.parsed.city === "text", answer);
  },
  async image() {
    const content = [
      { type: "text", text: "What is it?" },
      { type: "image_url", image_url: { url: `data:image/png;base64,${PIXEL}` } },
    ];
    const answer = await client.chat.completions.create({ model: MODEL, messages: [{ role: "user", content }] });
    check(answer.choices[0].message.content, answer);
  },
  async responses() {
    const response = await client.responses.create({ model: MODEL, input: QUESTION });
    check(response.output_text.startsWith("Echo What is"), response);
    const next = await client.responses.create({ model: MODEL, input: "And?", previous_response_id: response.id });
    check(next.previous_response_id === response.id, next);
    const stream = client.responses.stream({ model: MODEL, input: QUESTION });
    check((await stream.finalResponse()).output_text.startsWith("Echo What is"), "stream");
    const parsed = await client.responses.parse({
      model: MODEL,
      input: QUESTION,
      text: { format: zodTextFormat(Weather, "weather") },
    });
    check(parsed.output_parsed.city === "text", parsed);
  },
  async embeddings() {
    const made = await client.embeddings.create({ model: "vectors", input: ["one", "two"] });
    check(made.data.length === 2 && made.data[0].embedding.length > 0, made);
  },
  async errors() {
    const stranger = new OpenAI({ ...options, apiKey: "sk-wrong" });
    await raises(OpenAI.AuthenticationError, stranger.chat.completions.create({ model: MODEL, messages }));
    await raises(OpenAI.NotFoundError, client.chat.completions.create({ model: "nothing", messages }));
    const wrong = client.chat.completions.create({ model: MODEL, messages, temperature: 9 });
    check((await raises(OpenAI.BadRequestError, wrong)).param === "temperature", "param");
  },
  async retries() {
    await failsOnce(MODEL, "503");
    const answer = await client.chat.completions.create({ model: MODEL, messages });
    check(answer.choices[0].message.content, answer);
  },
  async timeouts() {
    const asked = client.chat.completions.create({ model: "hangs", messages }, { timeout: 1000, maxRetries: 0 });
    await raises(OpenAI.APIConnectionTimeoutError, asked);
  },
  async abort() {
    const leaving = new AbortController();
    const asked = client.chat.completions.create({ model: "hangs", messages }, { signal: leaving.signal });
    setTimeout(() => leaving.abort(), 300);
    await raises(OpenAI.APIUserAbortError, asked);
    const stream = await client.chat.completions.create({ model: MODEL, messages, stream: true });
    for await (const _ of stream) break;
  },
});
