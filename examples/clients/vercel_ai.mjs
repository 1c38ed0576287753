// Vercel's AI SDK: npm install ai @ai-sdk/openai. `lumni("auto")` speaks the Responses API, `lumni.chat("auto")` chats.
import { createOpenAI } from "@ai-sdk/openai";
import { streamText } from "ai";

const lumni = createOpenAI({ baseURL: `${process.env.LUMNI_URL}/v1`, apiKey: process.env.LUMNI_API_KEY });

for await (const text of streamText({ model: lumni("auto"), prompt: "Name a prime." }).textStream) {
  process.stdout.write(text);
}
console.log();
