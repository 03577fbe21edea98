/** Requests to the server. Each returns its answer, or `{ error, ... }` in words. */

const PATIENCE = 20_000; // milliseconds

let token = sessionStorage.getItem("token"); // of a server that asks for one; gone with the tab

export const hasToken = () => token !== null;

export function setToken(value) {
  token = value;
  sessionStorage.setItem("token", token);
}

/** Ask what the page must know about the model. */
export const describeModel = () => request("page/model.json", { cache: "no-store" });

/** Get an example picture, as a file. */
export const loadExample = (path) => request(path, {}, "blob");

/** Have an image file classified and explained. */
export async function predict(image) {
  const start = performance.now();
  const headers = { "Content-Type": image.type || "application/octet-stream" };
  const answer = await request("predict?explain=1", { method: "POST", headers, body: image });
  return { ...answer, trip: performance.now() - start };
}

async function request(path, options, kind = "json") {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  try {
    const signal = AbortSignal.timeout(PATIENCE);
    const response = await fetch(path, { ...options, headers, signal });
    if (response.ok) return await response[kind]();
    const { error } = await response.json();
    if (response.status === 401) {
      return { error: token ? "the token is wrong" : "the server asks for a token", locked: true };
    }
    const text = error ?? `the server answered ${response.status}`;
    return { error: text, blank: response.status === 422 };
  } catch (error) {
    if (error.name === "TimeoutError") return { error: "the server did not answer in time" };
    if (error.name === "SyntaxError") return { error: "the server's answer cannot be read" };
    return { error: "the server cannot be reached; start it again" };
  }
}
