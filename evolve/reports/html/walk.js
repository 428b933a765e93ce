"use strict";
// Walks through the family tree: who is looked at, from whom they come, who comes from them. Everything is set as text.
(() => {
  const kin = JSON.parse(document.getElementById("kin").textContent);
  const walk = document.getElementById("walk");
  if (!kin.length || !walk) return;
  const tree = document.getElementById("tree");
  const part = (name) => walk.querySelector(`[data-part="${name}"]`);

  function element(name, text, className) {
    const made = document.createElement(name);
    made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function step(index, note) {
    const other = kin[index];
    const made = element("button", `${other.short} · ${other.operator} ${other.value}${note ? ` · ${note}` : ""}`);
    made.type = "button";
    made.addEventListener("click", () => { show(index); part("name").focus(); });
    return made;
  }

  function fill(place, entries, none) {
    place.replaceChildren(...(entries.length ? entries : [element("span", none, "quiet")]));
  }

  function show(index) {
    const one = kin[index];
    part("name").textContent = one.short;
    part("gain").textContent = one.parent_value === "-" ? one.value : `${one.value}, its best parent ${one.parent_value}`;
    part("facts").replaceChildren(...one.facts.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
    fill(part("parents"), one.parents.map(([i, id, role]) =>
      i === null ? element("span", `${id} · ${role} · not on this page`, "quiet") : step(i, role)), "nobody: it is a first one");
    fill(part("children"), one.children.map((i) => step(i, "")), "nobody on this page");
    const near = new Set([...one.parents.map(([i]) => i), ...one.children]);
    for (const mark of tree.querySelectorAll(".kin")) {
      const i = Number(mark.dataset.index);
      mark.classList.toggle("here", i === index);
      mark.classList.toggle("near", near.has(i));
    }
    for (const edge of tree.querySelectorAll(".edge")) {
      edge.classList.toggle("lit", Number(edge.dataset.child) === index || Number(edge.dataset.parent) === index);
    }
    const here = tree.querySelector(".kin.here");
    const box = tree.parentElement;
    box.scrollTo({
      left: Number(here.dataset.x) - box.clientWidth / 2, top: Number(here.dataset.y) - box.clientHeight / 2,
    });
  }

  tree.addEventListener("click", (event) => {
    const mark = event.target.closest(".kin");
    if (!mark) return;
    event.preventDefault();
    show(Number(mark.dataset.index));
  });
  function fromAddress() {
    const found = /^#i(\d+)$/.exec(location.hash);
    return found && kin[Number(found[1])] ? Number(found[1]) : -1;
  }

  addEventListener("hashchange", () => { if (fromAddress() >= 0) show(fromAddress()); });
  walk.hidden = false;
  show(Math.max(0, fromAddress()));
})();
