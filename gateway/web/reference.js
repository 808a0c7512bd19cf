// Writes the reference from the gateway's own document, and tries calls. It loads nothing from elsewhere.
"use strict";

const make = (name, text, ...children) => {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
};

const pick = (spec, ref) => ref.slice(2).split("/").reduce((at, key) => at[key], spec);

// A schema as lines of text, references followed once.
function outline(spec, schema, depth, seen) {
  const pad = "  ".repeat(depth);
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    if (seen.includes(name) || depth > 5) return name;
    return outline(spec, pick(spec, schema.$ref), depth, [...seen, name]);
  }
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return `[${outline(spec, schema.items || {}, depth, seen)}]`;
  if (schema.properties) {
    const lines = Object.entries(schema.properties).map(([name, inner]) => {
      const told = (inner.description || "").split("\n")[0];
      return `${pad}  ${name}: ${outline(spec, inner, depth + 1, seen)}${told ? `   // ${told}` : ""}`;
    });
    return `{\n${lines.join("\n")}\n${pad}}`;
  }
  return [].concat(schema.type || "any").join(" | ") + (schema.format ? ` (${schema.format})` : "");
}

function parametersOf(operation, inputs) {
  const table = make("table");
  for (const parameter of operation.parameters || []) {
    const input = make("input");
    input.placeholder = parameter.required ? "required" : "";
    if (parameter.in === "path") input.value = parameter.example || "";
    inputs.push({ parameter, input });
    const name = make("td", "", make("code", parameter.name), make("br"), make("small", parameter.in));
    table.append(make("tr", "", name, make("td", "", input), make("td", parameter.description)));
  }
  return table;
}

async function attempt(method, path, inputs, body, output) {
  const query = new URLSearchParams();
  const headers = {};
  for (const { parameter, input } of inputs) {
    if (!input.value) continue;
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    if (parameter.in === "query") query.append(parameter.name, input.value);
    if (parameter.in === "header") headers[parameter.name] = input.value;
  }
  const token = document.getElementById("token").value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const search = query.toString();
  output.textContent = "…";
  try {
    const answer = await fetch(path + (search ? `?${search}` : ""), { method, headers, body });
    output.textContent = `${answer.status} ${answer.statusText}\n`;
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let whole = ""; ; ) {
      const { done, value } = await reader.read();
      if (done) {
        try { whole = JSON.stringify(JSON.parse(whole), null, 2); } catch { /* It is no JSON: as it came. */ }
        output.textContent = `${answer.status} ${answer.statusText}\n${whole}`;
        return;
      }
      whole += value;
      output.textContent = `${answer.status} ${answer.statusText}\n${whole}`;
    }
  } catch (error) {
    output.textContent = String(error);
  }
}

function section(spec, method, path, operation) {
  const inputs = [];
  const details = make("details");
  details.id = operation.operationId;
  details.dataset.text = `${method} ${path} ${operation.description}`.toLowerCase();
  const head = make("summary", "", make("b", method.toUpperCase()), make("code", path), ` ${operation.summary}`);
  details.append(head);
  // Written when it is opened: the whole document at once would be slow on a phone.
  details.addEventListener("toggle", () => {
    if (details.dataset.written) return;
    details.dataset.written = "yes";
    for (const paragraph of operation.description.split("\n\n")) details.append(make("p", paragraph));
    details.append(parametersOf(operation, inputs));
    const content = operation.requestBody?.content["application/json"];
    const body = content && make("textarea");
    if (body) {
      body.value = JSON.stringify(content.example ?? {}, null, 2);
      details.append(make("h4", "Body"), body, make("pre", outline(spec, content.schema, 0, [])));
    }
    const output = make("pre");
    const button = make("button", "Try it");
    button.addEventListener("click", () => attempt(method.toUpperCase(), path, inputs, body?.value, output));
    details.append(make("p", "", button), output, make("h4", "Answers"));
    for (const [status, found] of Object.entries(operation.responses)) {
      const response = found.$ref ? pick(spec, found.$ref) : found;
      details.append(make("p", "", make("b", `${status} `), response.description));
      for (const [kind, { schema }] of Object.entries(response.content || {})) {
        details.append(make("code", kind), make("pre", outline(spec, schema, 0, [])));
      }
    }
  });
  return details;
}

async function write() {
  const spec = await (await fetch("/openapi.json")).json();
  const [contents, operations] = ["contents", "operations"].map((id) => document.getElementById(id));
  operations.replaceChildren(...spec.info.description.split("\n\n").map((text) => make("p", text)));
  for (const tag of spec.tags) {
    contents.append(make("h2", tag.name));
    operations.append(make("h2", tag.name), make("p", tag.description));
    for (const [path, methods] of Object.entries(spec.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        if (operation.tags[0] !== tag.name) continue;
        const link = make("a", operation.operationId);
        link.href = `#${operation.operationId}`;
        link.addEventListener("click", () => { document.getElementById(operation.operationId).open = true; });
        contents.append(link);
        operations.append(section(spec, method, path, operation));
      }
    }
  }
  document.getElementById("find").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const details of operations.querySelectorAll("details")) {
      details.classList.toggle("hidden", !details.dataset.text.includes(wanted));
    }
  });
}

write().catch((error) => { document.getElementById("operations").textContent = String(error); });
