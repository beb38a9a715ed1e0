// Prints a whole response, a streamed one, a function call by the model, and the size of two embeddings.
// Run it with: npm ci && node chat.js
import OpenAI from "openai";

const client = new OpenAI({
  baseURL: process.env.NULPOINT_URL ?? "http://localhost:8080/v1",
  apiKey: "any-string",
});

const response = await client.chat.completions.create({
  model: "gpt-5.4",
  messages: [{ role: "user", content: "Hello!" }],
});
console.log(`answer: ${response.choices[0].message.content}`);

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

const completion = await client.chat.completions.create({
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
const call = completion.choices[0].message.tool_calls[0];
console.log(`call: ${call.function.name}(${call.function.arguments})`);

const vectors = await client.embeddings.create({
  model: "text-embedding-3-small",
  input: ["Hello", "world"],
});
console.log(`vectors: ${vectors.data.length} of ${vectors.data[0].embedding.length} dimensions`);
