// Draws the plots of a report from the JSON beside it. The page works without a network: all of it is in this one file.
(() => {
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const drawn = [];
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const lineColor = (index) => color(`--plot-${index % 6}`);
  const short = (value) => {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    if (size >= 1e6) return `${(value / 1e6).toFixed(1)}M`;
    if (size >= 1e4) return `${(value / 1e3).toFixed(1)}k`;
    return Number.isInteger(value) || size >= 100 ? value.toFixed(0) : size >= 1 ? value.toFixed(1) : value.toPrecision(2);
  };

  function options(plot, width) {
    const axis = { stroke: color("--dim"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 }, font: "12px system-ui" };
    const named = new Map((plot.ticks ?? []).map(([at, words]) => [at, words]));
    const x = { ...axis, values: plot.ticks ? (_, at) => at.map((value) => named.get(value) ?? "") : (_, at) => at.map(short) };
    if (plot.ticks) x.splits = () => [...named.keys()];
    return {
      width, height: 220,
      scales: { x: { time: false }, y: plot.log ? { distr: 3 } : { range: (_, low, high) => [Math.min(0, low), high > 0 ? high * 1.05 : 1] } },
      axes: [x, { ...axis, size: 62, values: (_, at) => at.map((value) => (value === null ? "" : short(value))) }],
      legend: { show: plot.lines.length <= 8, live: true },
      cursor: { drag: { x: false, y: false } },
      series: [
        { label: plot.x, value: (_, value) => (plot.ticks ? named.get(value) ?? short(value) : short(value)) },
        ...plot.lines.map((line, index) => ({
          label: line.label, stroke: lineColor(index), width: plot.lines.length > 8 ? 1 : 2, spanGaps: true,
          points: { show: line.values.length < 40, size: 5 }, value: (_, value) => short(value),
        })),
      ],
    };
  }

  function draw() {
    for (const plot of drawn.splice(0)) plot.destroy();
    for (const plot of plots) {
      const place = document.getElementById(plot.id);
      const data = [plot.at, ...plot.lines.map((line) => line.values)];
      drawn.push(new uPlot(options(plot, Math.max(260, place.clientWidth)), data, place));
    }
  }

  draw();
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    draw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
