(() => {
  const box = document.querySelector(".search");
  const input = box.querySelector("input");
  const found = box.querySelector(".found");
  const cards = [...document.querySelectorAll(".card")];
  const plain = (text) => text.toLowerCase().replaceAll("_", " ").normalize("NFKD");
  const texts = cards.map((card) =>
    plain([card.id, card.querySelector(".about").textContent,
      card.closest("section").querySelector("h2").textContent].join(" ")));
  const filter = () => {
    const words = plain(input.value).split(/\s+/).filter(Boolean);
    cards.forEach((card, n) => { card.hidden = !words.every((word) => texts[n].includes(word)); });
    for (const section of document.querySelectorAll("section"))
      section.hidden = ![...section.querySelectorAll(".card")].some((card) => !card.hidden);
    const left = cards.filter((card) => !card.hidden).length;
    found.textContent = words.length ? `${left} of ${cards.length}` : "";
  };
  box.hidden = false;
  input.addEventListener("input", filter);
  filter();
})();
