// npm ci && node chat.js: an answer at once, one as it comes, a function that is called, and two vectors.
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: process.env.NULPOINT_URL ?? "http://localhost:8080/v1",
  apiKey: "any-string",
});

const answer = await client.chat.completions.create({
  model: "gpt-5.4",
  messages: [{ role: "user", content: "Hello!" }],
});
console.log(`answer: ${answer.choices[0].message.content}`);

const stream = await client.chat.completions.create({
  model: "claude-sonnet-5",
  messages: [{ role: "user", content: "Tell me something." }],
  stream: true,
});
process.stdout.write("stream: ");
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}
console.log();

const called = await client.chat.completions.create({
  model: "gpt-5.4",
  messages: [{ role: "user", content: "What is the weather in Lisbon?" }],
  tools: [
    {
      type: "function",
      function: {
        name: "weather",
        parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
      },
    },
  ],
});
const call = called.choices[0].message.tool_calls[0];
console.log(`call: ${call.function.name}(${call.function.arguments})`);

const vectors = await client.embeddings.create({
  model: "text-embedding-3-small",
  input: ["Hello", "world"],
});
console.log(`vectors: ${vectors.data.length} of ${vectors.data[0].embedding.length} dimensions`);
