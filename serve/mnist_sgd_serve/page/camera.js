/**
 * Photographs: by the camera app of a phone, else by a preview with a shutter. Browsers allow the
 * preview only for pages from this machine or over TLS, and ask the user first.
 */

const SIDE = 1280; // the most pixels on a side of a photograph

const dialog = document.getElementById("camera");
const video = document.getElementById("preview");
const shutter = document.getElementById("take");

/** Whether photographs are taken by an app of the device. */
export const hasCameraApp = matchMedia("(hover: none) and (pointer: coarse)").matches;

export const hasPreview = Boolean(navigator.mediaDevices?.getUserMedia);

/**
 * Show the preview until a photograph is taken.
 * @returns {Promise<{ photograph?: Blob, error?: string }>} with neither if the user gave up
 */
export async function photograph() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "environment", width: { ideal: SIDE } },
    });
  } catch (error) {
    if (error.name === "NotAllowedError") return { error: "the browser may not use the camera" };
    if (error.name === "NotFoundError") return { error: "there is no camera" };
    return { error: "the camera cannot be used" };
  }
  video.srcObject = stream;
  shutter.disabled = true; // until there is something to see
  dialog.returnValue = "";
  dialog.showModal();
  try {
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    return dialog.returnValue === "take" ? { photograph: await frame() } : {};
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
  }
}

/** The frame that the preview shows, as a JPEG file. */
function frame() {
  const scale = Math.min(1, SIDE / Math.max(video.videoWidth, video.videoHeight));
  const [width, height] = [video.videoWidth, video.videoHeight].map((it) => Math.round(it * scale));
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(video, 0, 0, width, height);
  return context.canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
}

shutter.addEventListener("click", () => dialog.close("take"));
document.getElementById("leave").addEventListener("click", () => dialog.close());
video.addEventListener("loadeddata", () => (shutter.disabled = false));
