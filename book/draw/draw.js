// Strokes become an image like MNIST's, the exported detector judges it, and the page shows the result.
"use strict";
{
  // In pixels of the image. MNIST's digits fill a box of 20 pixels. With this pen and its soft edge, digits that were
  // drawn for the purpose have the mean ink and the mean entropy of MNIST's.
  const SIZE = 28, BOX = 20, PEN = 2.5, EDGE = 0.6;
  const LETTER = [[[0.2, 0.9], [0.5, 0.1], [0.8, 0.9]], [[0.32, 0.62], [0.68, 0.62]]]; // an A

  const box = document.querySelector(".draw");
  const part = name => box.querySelector(`.draw-${name}`);
  const paper = part("paper"), pen = paper.getContext("2d"), answer = part("answer");
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const stored = text => fetch(`data:application/octet-stream;base64,${text}`);
  const bytes = async text => new Uint8Array(await (await stored(text)).arrayBuffer());

  // --- From strokes to an image ---

  // Grey levels 0 to 255: each pixel's distance from the nearest line, held against half of the pen's width.
  function rendered(lines) {
    const image = new Uint8Array(SIZE * SIZE);
    for (let at = 0; at < image.length; at++) {
      const x = at % SIZE + 0.5, y = Math.floor(at / SIZE) + 0.5;
      let nearest = Infinity;
      for (const [ax, ay, bx, by] of lines) {
        const dx = bx - ax, dy = by - ay, length = dx * dx + dy * dy;
        const along = length && clamp(((x - ax) * dx + (y - ay) * dy) / length, 0, 1);
        nearest = Math.min(nearest, (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2);
      }
      image[at] = Math.round(255 * clamp((PEN / 2 + EDGE - Math.sqrt(nearest)) / (2 * EDGE), 0, 1));
    }
    return image;
  }

  // As MNIST was made: fitted into the box, then moved so that the centre of mass is the image's centre.
  function likeMnist(strokes) {
    const range = values => [Math.min(...values), Math.max(...values)];
    const [left, right] = range(strokes.flat().map(([x]) => x)), [top, bottom] = range(strokes.flat().map(([, y]) => y));
    const scale = (BOX - PEN) / Math.max(right - left, bottom - top, 0.1); // a dot stays a dot
    const lines = (shiftX, shiftY) => {
      const place = ([x, y]) => [
        (x - (left + right) / 2) * scale + SIZE / 2 + shiftX,
        (y - (top + bottom) / 2) * scale + SIZE / 2 + shiftY,
      ];
      return strokes.flatMap(stroke => stroke.map((end, at) => [...place(stroke[Math.max(at - 1, 0)]), ...place(end)]));
    };
    let ink = 0, inkX = 0, inkY = 0;
    rendered(lines(0, 0)).forEach((level, at) => {
      ink += level;
      inkX += level * (at % SIZE + 0.5);
      inkY += level * (Math.floor(at / SIZE) + 0.5);
    });
    return rendered(lines(SIZE / 2 - inkX / ink, SIZE / 2 - inkY / ink));
  }

  // --- The detector ---

  // From a disk a browser fetches no file, so the parts of the runtime are handed to it from memory.
  async function load() {
    const packed = await stored(RUNTIME.wasm);
    const unpacked = new Response(packed.body.pipeThrough(new DecompressionStream("gzip")));
    const module = URL.createObjectURL(new Blob([RUNTIME.module], { type: "text/javascript" }));
    Object.assign(ort.env.wasm, { numThreads: 1, wasmPaths: { mjs: module }, wasmBinary: await unpacked.arrayBuffer() });
    return ort.InferenceSession.create(await bytes(DETECTOR.model), { executionProviders: ["wasm"] });
  }

  async function judge(image) {
    const pixels = Float32Array.from(image, level => level / 255);
    const outputs = await detector.run({ images: new ort.Tensor("float32", pixels, [1, 1, SIZE, SIZE]) });
    return {
      image: [...image],
      name: DETECTOR.classes[outputs.predicted_class.data[0]],
      score: outputs[DETECTOR.score].data[0],
      p: outputs.p_value.data[0],
      rejected: Boolean(outputs.is_ood.data[0]),
      reconstruction: [...outputs.reconstruction.data],
    };
  }

  // --- The page ---

  function paint(name, colours) {
    const picture = part(name).getContext("2d"), data = picture.createImageData(SIZE, SIZE);
    colours.forEach((colour, at) => data.data.set([...colour, 255], 4 * at));
    picture.putImageData(data, 0, 0);
  }

  const BLACK = [0, 0, 0], ORANGE = [230, 159, 0], BLUE = [86, 180, 233];
  const grey = level => [level, level, level];
  // Orange where ink is missing in the reconstruction, blue where it has ink that nobody drew.
  const signed = value => (value > 0 ? ORANGE : BLUE).map(level => level * Math.abs(value));

  function show(result) {
    box.result = result;
    const none = Array(SIZE * SIZE).fill(BLACK);
    paint("seen", result ? result.image.map(grey) : none);
    paint("rebuilt", result ? result.reconstruction.map(value => grey(255 * value)) : none);
    paint("difference", result ? result.image.map((level, at) => signed(level / 255 - result.reconstruction[at])) : none);
    part("mark").hidden = !result;
    answer.className = "draw-answer";
    if (!result) {
      answer.innerHTML = "<p>Draw a digit on the black square, or choose an example.</p>";
      return;
    }
    const { name, p, score, rejected } = result, alpha = `${100 * DETECTOR.alpha}%`;
    const many = p < 0.01 ? "fewer than 1 has" : `about ${Math.round(100 * p)} have`;
    answer.classList.add(rejected ? "draw-rejected" : "draw-accepted");
    answer.innerHTML = `<p class="draw-class">Class <b>${name}</b>, p-value <b>${p.toFixed(3)}</b></p>
      <p class="draw-verdict">${rejected ? "▲ Out-of-distribution" : "● Accepted as in-distribution"}</p>
      <p>Of 100 digits of MNIST, ${many} a score as high as this image's, ${score.toPrecision(3)}, or higher. ${
        rejected
          ? `The p-value is at most ${alpha}, so the image is rejected. The class is then a forced choice.`
          : `The p-value is above alpha = ${alpha}, so the image is accepted.`
      } At this alpha, about ${alpha} of MNIST's digits are rejected by mistake.</p>`;
    part("mark").style.left = `${place(p)}%`;
  }

  const place = p => 100 + 100 * Math.log10(p) / 3; // from 0.001 to 1, in per cent of the scale

  // The result is read aloud when it is complete: at the end of the stroke.
  let strokes = [], drawing = false, busy = true;
  const settle = () => answer.setAttribute("aria-busy", drawing || busy);

  // The newest image is judged. Images that came while the detector was busy are skipped.
  let current = null, shown = null;
  async function update(image) {
    current = image;
    if (busy) return;
    busy = true;
    settle();
    while (shown !== current) {
      const image = current;
      show(image && await judge(image));
      shown = image;
    }
    busy = false;
    settle();
  }

  function draw() {
    const width = paper.width;
    pen.fillRect(0, 0, width, width);
    for (const stroke of strokes) {
      pen.beginPath();
      stroke.forEach(([x, y], at) => at ? pen.lineTo(x * width, y * width) : pen.moveTo(x * width, y * width));
      if (stroke.length === 1) pen.lineTo(stroke[0][0] * width, stroke[0][1] * width);
      pen.stroke();
    }
    update(strokes.length ? likeMnist(strokes) : null);
  }

  function example(image) {
    strokes = [];
    update(image);
    pen.imageSmoothingEnabled = false;
    paint("seen", [...image].map(grey));
    pen.drawImage(part("seen"), 0, 0, paper.width, paper.height);
  }

  const add = event => {
    const area = paper.getBoundingClientRect();
    strokes.at(-1).push([(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height]);
  };
  const stop = () => {
    drawing = false;
    settle();
  };
  paper.addEventListener("pointerdown", event => {
    if (!event.isPrimary || event.button) return;
    paper.setPointerCapture(event.pointerId);
    drawing = true;
    strokes.push([]);
    add(event);
    draw();
  });
  paper.addEventListener("pointermove", event => {
    if (!drawing || !event.isPrimary) return;
    const passed = event.getCoalescedEvents();
    (passed.length ? passed : [event]).forEach(add);
    draw();
  });
  paper.addEventListener("pointerup", stop);
  paper.addEventListener("pointercancel", stop);

  let digit = 0;
  const actions = {
    clear() { strokes = []; draw(); },
    digit: async () => example(await bytes(DETECTOR.digits[digit++ % DETECTOR.digits.length])),
    blank: () => example(new Uint8Array(SIZE * SIZE)),
    noise: () => example(Uint8Array.from({ length: SIZE * SIZE }, () => 256 * Math.random())),
    letter() { strokes = [...LETTER]; draw(); },
  };
  for (const button of box.querySelectorAll("button")) button.addEventListener("click", actions[button.value]);

  Object.assign(pen, { strokeStyle: "white", lineWidth: paper.width / 12, lineCap: "round", lineJoin: "round" });
  part("alpha").style.left = `${place(DETECTOR.alpha)}%`;
  part("calibrated").textContent = DETECTOR.calibrated;
  pen.fillRect(0, 0, paper.width, paper.height);
  let detector;
  load().then(loaded => {
    detector = loaded;
    busy = false;
    show(null);
    update(current); // what was drawn in the meantime
    settle();
  }, error => {
    answer.textContent = `The detector does not run in this browser: ${error.message}`;
    settle();
  });
}
