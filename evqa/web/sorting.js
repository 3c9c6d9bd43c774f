// Sort a table by the column whose header is pressed: numbers by size, all else by letters, empty cells last.
const order = (one, other) => {
  if (one === "" || other === "") return 0;
  const difference = Number(one) - Number(other);
  return Number.isNaN(difference) ? one.localeCompare(other, undefined, { numeric: true }) : difference;
};
element.addEventListener("click", (event) => {
  const header = event.target.closest("th button")?.parentElement;
  if (!header) return;
  const isUp = header.getAttribute("aria-sort") !== "ascending";
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", isUp ? "ascending" : "descending");
  const body = header.closest("table").tBodies[0];
  const text = (row) => row.cells[header.cellIndex].textContent;
  const rows = [...body.rows].sort((one, other) => {
    const byEmpty = (text(one) === "") - (text(other) === "");
    return byEmpty || (isUp ? 1 : -1) * order(text(one), text(other));
  });
  body.append(...rows);
});
