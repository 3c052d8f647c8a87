// The grid: folders of the mount, and pictures with what is drawn on them. What is out of sight is not asked for.

import { overlay } from "/shapes.js";

const byId = (id) => document.getElementById(id);

export class Pictures {
  // ask(path, query) → the JSON; told(error) shows one
  constructor(ask, told) {
    this.ask = ask;
    this.told = told;
    this.mount = "";
    this.path = "";
    this.offset = 0;
    this.turn = 0;
    this.seen = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        this.seen.unobserve(entry.target);
        entry.target.load();
      }
    }, { rootMargin: "100px" });
    byId("back").addEventListener("click", () => this.show(this.path, this.offset - this.size));
    byId("on").addEventListener("click", () => this.show(this.path, this.offset + this.size));
    byId("drawn").addEventListener("change", () => this.show(this.path, this.offset));
  }

  async of(mount) {
    this.mount = mount;
    await this.show("", 0);
  }

  async dataset(name) {
    try {
      await this.show(await this.ask("/api/place", { mount: this.mount, dataset: name }), 0);
      byId("grid").scrollIntoView({ block: "nearest" });
    } catch (error) {
      this.told(error);
    }
  }

  async show(path, offset) {
    const turn = ++this.turn;
    let found;
    try {
      found = await this.ask("/api/folder", { mount: this.mount, path, offset: Math.max(0, offset) });
    } catch (error) {
      this.told(error);
      return;
    }
    if (turn !== this.turn) return;  // somebody has turned the page meanwhile
    this.path = path;
    this.offset = found.offset;
    this.size = Math.max(found.pictures.length, 1);
    this.crumbs(path);
    byId("folders").replaceChildren(...found.folders.map((name) => this.folder(path ? `${path}/${name}` : name, name)));
    this.seen.disconnect();
    const tiles = found.pictures.map((picture) => this.tile(path, picture));
    byId("grid").replaceChildren(...tiles);
    byId("grid").dataset.path = path;
    tiles.forEach((tile) => this.seen.observe(tile));
    const last = found.offset + found.pictures.length;
    byId("where").textContent = found.total ? `${found.offset + 1}–${last} of ${found.total}` : "";
    byId("back").disabled = found.offset === 0;
    byId("on").disabled = last >= found.total;
  }

  folder(path, name) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.addEventListener("click", () => this.show(path, 0));
    return button;
  }

  crumbs(path) {
    const parts = path ? path.split("/") : [];
    const all = [this.folder("", "the mount"), ...parts.map((name, at) => this.folder(parts.slice(0, at + 1).join("/"), name))];
    byId("crumbs").replaceChildren(...all);
  }

  tile(folder, picture) {
    const tile = document.createElement("button");
    tile.type = "button";
    tile.className = "tile";
    tile.title = picture.name;
    const caption = document.createElement("span");
    caption.className = "caption";
    caption.textContent = picture.name;
    const frame = document.createElement("span");
    frame.className = "frame";
    tile.append(frame, caption);
    const path = `${folder}/${picture.name}`;
    tile.load = () => this.fill(frame, path, picture);
    tile.addEventListener("click", () => this.large(path, picture));
    return tile;
  }

  // A picture in its frame, with what is drawn on it.
  async fill(frame, path, picture) {
    if (picture.error || !picture.shown) return lost(frame, picture.error ?? "no browser shows a picture of that kind");
    const image = new Image();
    image.alt = picture.name;
    image.src = "/picture?" + new URLSearchParams({ mount: this.mount, path });
    try {
      await image.decode();
    } catch {
      return lost(frame, "it cannot be read, or is no picture");
    }
    frame.replaceChildren(image);
    if (!byId("drawn").checked || picture.annotation_count === "0") return;
    let shapes = [];
    try {
      shapes = await this.ask("/api/shapes", { mount: this.mount, path });
    } catch (error) {
      frame.title = error.message;
    }
    const { naturalWidth: width, naturalHeight: height } = image;
    const pixel = Math.max(width / frame.clientWidth, height / frame.clientHeight);
    frame.append(overlay(shapes, width, height, pixel));
    return shapes;
  }

  async large(path, picture) {
    const frame = document.createElement("div");
    frame.className = "frame";
    byId("large-picture").replaceChildren(frame);
    byId("large-facts").replaceChildren();
    byId("large").showModal();
    const shapes = await this.fill(frame, path, picture);
    const count = {};
    for (const shape of shapes ?? []) count[shape.name] = (count[shape.name] ?? 0) + 1;
    const facts = {
      file: path, status: picture.status, split: picture.split, cached: picture.cached === "1" ? "yes" : "not before",
      size: picture.width && `${picture.width} × ${picture.height}`,
      drawn: Object.entries(count).map(([name, many]) => `${many} ${name}`).join(", "),
    };
    byId("large-facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value).map(([name, value]) => {
      const pair = document.createElement("div"), term = document.createElement("dt"), text = document.createElement("dd");
      term.textContent = name + " ";
      text.textContent = value;
      pair.append(term, text);
      return pair;
    }));
  }
}

function lost(frame, why) {
  const text = document.createElement("span");
  text.className = "lost";
  text.textContent = why;
  frame.replaceChildren(text);
}
