// What all pages share: numbers with their units, as Grafana writes them, and the visitor's choices.
(() => {
  const scaled = (value, units, base, decimals) => {
    let index = 0;
    let amount = value;
    while (Math.abs(amount) >= base && index < units.length - 1) {
      amount /= base;
      index += 1;
    }
    return `${plain(amount, decimals ?? (index ? 1 : null))}${units[index]}`;
  };
  const plain = (value, decimals) => {
    if (decimals !== null && decimals !== undefined) return value.toFixed(decimals);
    if (value !== 0 && Math.abs(value) < 1e-4) return value.toExponential(1);
    return String(Number(value.toPrecision(4)));
  };
  const duration = (seconds, decimals) => {
    const size = Math.abs(seconds);
    if (size === 0) return "0 s";
    if (size < 1e-3) return `${plain(seconds * 1e6, decimals ?? 0)} µs`;
    if (size < 1) return `${plain(seconds * 1e3, decimals ?? (size < 0.1 ? 1 : 0))} ms`;
    for (const [length, unit] of [[86400, "d"], [3600, "h"], [60, "min"]]) {
      if (size >= length) return `${plain(seconds / length, decimals ?? 1)} ${unit}`;
    }
    return `${plain(seconds, decimals ?? 1)} s`;
  };
  window.rectbotFormat = (value, unit, decimals) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "-";
    switch (unit) {
      case "percentunit":
        return `${plain(value * 100, decimals ?? (Math.abs(value) < 0.1 ? 1 : 0))} %`;
      case "percent":
        return `${plain(value, decimals)} %`;
      case "bytes":
        return scaled(value, [" B", " KiB", " MiB", " GiB", " TiB"], 1024, decimals);
      case "short":
        return scaled(value, ["", " K", " Mil", " Bil"], 1000, decimals);
      case "s":
        return duration(value, decimals);
      default:
        return plain(value, decimals);
    }
  };
  window.rectbotKeep = (name, value) => {
    document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=strict`;
  };
  const escapes = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  window.rectbotEscape = (text) => String(text).replace(/[&<>"']/g, (letter) => escapes[letter]);
})();
