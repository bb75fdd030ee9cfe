// What all pages share: numbers and times as they are written, the visitor's choices, and the address.
(() => {
  // Units: https://grafana.com/docs/grafana/latest/panels-visualizations/configure-standard-options/#unit
  const table = (text) => Object.fromEntries(text.trim().split(/\s*;\s*/).map((entry) => entry.split("=")));
  const FIXED = table(`humidity=%H;dB=dB;pixel=px;accMS2=m/sec²;accFS2=f/sec²;accG=g;degree=°;radian=rad;grad=grad;
    arcmin=arcmin;arcsec=arcsec;areaM2=m²;areaF2=ft²;areaMI2=mi²;ppm=ppm;conppb=ppb;conngm3=ng/m³;conngNm3=ng/Nm³;
    conμgm3=μg/m³;conμgNm3=μg/Nm³;conmgm3=mg/m³;conmgNm3=mg/Nm³;congm3=g/m³;congNm3=g/Nm³;conmgdL=mg/dL;
    conmmolL=mmol/L;Wm2=W/m²;flowgpm=gpm;flowcms=cms;flowcfs=cfs;flowcfm=cfm;litreh=L/h;flowlpm=L/min;
    flowmlpm=mL/min;lux=lux;masst=t;lengthft=ft;lengthmi=mi;pressurehpa=hPa;pressurekpa=kPa;pressurehg="Hg;
    rotrpm=rpm;rotrads=rad/s;rotdegs=°/s;celsius=°C;fahrenheit=°F;farenheit=°F;kelvin=K;velocityms=m/s;
    velocitykmh=km/h;velocitymph=mph;velocityknot=kn;m3=m³;Nm3=Nm³;dm3=dm³;gallons=gal`);
  // A base unit, and after a colon the power of 1000 (or 1024) that a value of 1 is worth.
  const METRIC = table(`flops=FLOP/s;mflops=FLOP/s:2;gflops=FLOP/s:3;tflops=FLOP/s:4;pflops=FLOP/s:5;eflops=FLOP/s:6;
    zflops=FLOP/s:7;yflops=FLOP/s:8;decbits=b;decbytes=B;deckbytes=B:1;decmbytes=B:2;decgbytes=B:3;dectbytes=B:4;
    decpbytes=B:5;pps=pps;bps=bps;Bps=B/s;KBs=B/s:1;Kbits=bps:1;MBs=B/s:2;Mbits=bps:2;GBs=B/s:3;Gbits=bps:3;TBs=B/s:4;
    Tbits=bps:4;PBs=B/s:5;Pbits=bps:5;watt=W;kwatt=W:1;megwatt=W:2;gwatt=W:3;mwatt=W:-1;voltamp=VA;kvoltamp=VA:1;
    voltampreact=var;kvoltampreact=var:1;watth=Wh;watthperkg=Wh/kg;kwatth=Wh:1;kwattm=W-Min:1;amph=Ah;kamph=Ah:1;
    mamph=Ah:-1;joule=J;ev=eV;amp=A;kamp=A:1;mamp=A:-1;volt=V;kvolt=V:1;mvolt=V:-1;dBm=dBm;ohm=Ω;kohm=Ω:1;Mohm=Ω:2;
    farad=F;µfarad=F:-2;nfarad=F:-3;pfarad=F:-4;ffarad=F:-5;henry=H;mhenry=H:-1;µhenry=H:-2;lumens=Lm;forceNm=Nm;
    forcekNm=Nm:1;forceN=N;forcekN=N:1;Hs=H/s;KHs=H/s:1;MHs=H/s:2;GHs=H/s:3;THs=H/s:4;PHs=H/s:5;EHs=H/s:6;massmg=g:-1;
    massg=g;masskg=g:1;lengthmm=m:-1;lengthm=m;lengthkm=m:1;pressurembar=bar:-1;pressurebar=bar;pressurekbar=bar:1;
    pressurepa=Pa;pressurepsi=psi;radbq=Bq;radci=Ci;radgy=Gy;radrad=rad;radsv=Sv;radmsv=Sv:-1;radusv=Sv:-2;radrem=rem;
    radexpckg=C/kg;radr=R;radsvh=Sv/h;radmsvh=Sv/h:-1;radusvh=Sv/h:-2;rothz=Hz;hertz=Hz;mlitre=L:-1;litre=L`);
  const BINARY = table(`bits=b;bytes=B;kbytes=B:1;mbytes=B:2;gbytes=B:3;tbytes=B:4;pbytes=B:5;binBps=B/s;binbps=b/s;
    KiBs=B/s:1;MiBs=B/s:2;GiBs=B/s:3;TiBs=B/s:4;PiBs=B/s:5;Kibits=b/s:1;Mibits=b/s:2;Gibits=b/s:3;Tibits=b/s:4`);
  const COUNTED = table(`cps=c/s;ops=ops/s;reqps=req/s;rps=rd/s;wps=wr/s;iops=io/s;eps=evt/s;mps=msg/s;recps=rec/s;
    rowsps=rows/s;cpm=c/m;opm=ops/m;rpm=rd/m;wpm=wr/m;epm=evts/m`);
  const CURRENCIES = table(`USD=$;GBP=£;EUR=€;JPY=¥;RUB=₽;UAH=₴;BRL=R$;DKK=kr;ISK=kr;NOK=kr;SEK=kr;CZK=czk;CHF=CHF;
    PLN=PLN;BTC=฿;mBTC=mBTC;μBTC=μBTC;ZAR=R;INR=₹;KRW=₩`);
  const SECONDS = { ns: 1e-9, µs: 1e-6, us: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600, d: 86400 };
  const BOOLEANS = { bool: ["True", "False"], bool_yes_no: ["Yes", "No"], bool_on_off: ["On", "Off"] };
  const PREFIXES = ["f", "p", "n", "µ", "m", "", "k", "M", "G", "T", "P", "E", "Z", "Y"];
  const BINARIES = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];

  const plain = (value, decimals) => {
    if (decimals !== null && decimals !== undefined) return value.toFixed(decimals);
    if (value !== 0 && Math.abs(value) < 1e-4) return value.toExponential(1);
    return String(Number(value.toPrecision(4)));
  };
  // As many places as a unit of that size has; `start` is where in `units` a value of 1 stands.
  const scaled = (value, units, base, decimals, start = 0) => {
    let index = start;
    let amount = value;
    while (Math.abs(amount) >= base && index < units.length - 1) {
      amount /= base;
      index += 1;
    }
    while (amount !== 0 && Math.abs(amount) < 1 && index > 0) {
      amount *= base;
      index -= 1;
    }
    const own = index === start || Number.isInteger(amount) ? null : Math.abs(amount) < 100 ? 1 : 0;
    return [plain(amount, decimals ?? own), units[index]];
  };
  const measured = (given, units, base, zero) => (value, decimals) => {
    const [unit, power] = given.split(":");
    const [text, prefix] = scaled(value, units, base, decimals, zero + Number(power ?? 0));
    return `${text} ${prefix}${unit}`;
  };
  const counted = (unit) => (value, decimals) => {
    const [text, prefix] = scaled(value, ["", " K", " M", " B", " T"], 1000, decimals);
    return `${text}${prefix} ${unit}`;
  };
  const money = (sign) => (value, decimals) => {
    const [text, prefix] = scaled(value, ["", "K", "M", "B", "T"], 1000, decimals);
    return sign.length > 2 || sign === "kr" ? `${text}${prefix} ${sign}` : `${sign}${text}${prefix}`;
  };
  const duration = (seconds, decimals) => {
    const size = Math.abs(seconds);
    if (size === 0) return "0 s";
    if (size < 1e-6) return `${plain(seconds * 1e9, decimals ?? 0)} ns`;
    if (size < 1e-3) return `${plain(seconds * 1e6, decimals ?? 0)} µs`;
    if (size < 1) return `${plain(seconds * 1e3, decimals ?? (size < 0.1 ? 1 : 0))} ms`;
    for (const [length, unit] of [[365 * 86400, "y"], [7 * 86400, "w"], [86400, "d"], [3600, "h"], [60, "min"]]) {
      if (size >= length && (unit !== "w" || size >= 4 * length)) return `${plain(seconds / length, decimals ?? 1)} ${unit}`;
    }
    return `${plain(seconds, decimals ?? 1)} s`;
  };
  const hms = (seconds, days) => {
    const whole = Math.floor(Math.abs(seconds));
    const part = (length, most) => pad(Math.floor(whole / length) % most);
    const day = Math.floor(whole / 86400);
    const hours = days ? part(3600, 24) : pad(Math.floor(whole / 3600));
    return `${seconds < 0 ? "-" : ""}${days && day ? `${day} d ` : ""}${hours}:${part(60, 60)}:${part(1, 60)}`;
  };
  const clock = (seconds) => {
    const parts = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
    let rest = Math.round(Math.abs(seconds));
    const words = parts.map(([length, unit]) => {
      const count = Math.floor(rest / length);
      rest -= count * length;
      return count ? `${count}${unit}` : "";
    });
    return words.filter(Boolean).join(" ") || "0s";
  };
  const ago = (ms) => {
    const gone = (Date.now() - ms) / 1000;
    return gone < 0 ? `in ${duration(-gone, 0)}` : `${duration(gone, 0)} ago`;
  };
  const NAMED = {
    none: plain,
    string: (value) => String(value),
    short: (value, decimals) => scaled(value, ["", " K", " Mil", " Bil", " Tri", " Quadr"], 1000, decimals).join(""),
    percent: (value, decimals) => `${plain(value, decimals)} %`,
    percentunit: (value, decimals) => `${plain(value * 100, decimals ?? (Math.abs(value) < 0.1 ? 1 : 0))} %`,
    hex: (value) => Math.round(value).toString(16).toUpperCase(),
    hex0x: (value) => `0x${Math.round(value).toString(16).toUpperCase()}`,
    sci: (value, decimals) => value.toExponential(decimals ?? 2),
    locale: (value, decimals) => value.toLocaleString(undefined, { maximumFractionDigits: decimals ?? 3 }),
    dateTimeAsIso: (value) => window.rectbotTime(value),
    dateTimeAsIsoNoDateIfToday: (value) => window.rectbotTime(value, { short: true }),
    dateTimeAsUS: (value) => window.rectbotTime(value),
    dateTimeAsUSNoDateIfToday: (value) => window.rectbotTime(value, { short: true }),
    dateTimeAsLocal: (value) => window.rectbotTime(value),
    dateTimeAsLocalNoDateIfToday: (value) => window.rectbotTime(value, { short: true }),
    dateTimeAsSystem: (value) => window.rectbotTime(value),
    dateTimeFromNow: ago,
    dtdurationms: (value) => clock(value / 1000),
    dtdurations: clock,
    dthms: (value) => hms(value, false),
    dtdhms: (value) => hms(value, true),
    timeticks: (value, decimals) => duration(value / 100, decimals),
    clockms: (value) => hms(value / 1000, false),
    clocks: (value) => hms(value, false),
  };
  const spelled = (key, rest) => {
    switch (key) {
      case "suffix":
        return (value, decimals) => `${plain(value, decimals)} ${rest}`;
      case "prefix":
        return (value, decimals) => `${rest}${plain(value, decimals)}`;
      case "time":
        return (value) => window.rectbotTime(value);
      case "si": {
        const place = rest.length > 1 ? PREFIXES.indexOf(rest[0]) : -1;
        return place < 0 ? measured(rest, PREFIXES, 1000, 5) : measured(`${rest.slice(1)}:${place - 5}`, PREFIXES, 1000, 5);
      }
      case "count":
        return counted(rest);
      case "currency":
        return money(rest);
      case "bool": {
        const [yes, no] = rest.split("/");
        return (value) => (value ? yes : (no ?? "-"));
      }
      default:
        return null;
    }
  };
  const known = new Map();
  const formatter = (unit) => {
    const name = unit || "none";
    if (NAMED[name]) return NAMED[name];
    if (SECONDS[name]) return (value, decimals) => duration(value * SECONDS[name], decimals);
    if (METRIC[name]) return measured(METRIC[name], PREFIXES, 1000, 5);
    if (BINARY[name]) return measured(BINARY[name], BINARIES, 1024, 0);
    if (COUNTED[name]) return counted(COUNTED[name]);
    if (BOOLEANS[name]) return (value) => BOOLEANS[name][value ? 0 : 1];
    if (name.startsWith("currency") && CURRENCIES[name.slice(8)]) return money(CURRENCIES[name.slice(8)]);
    const colon = name.indexOf(":");
    const own = colon > 0 ? spelled(name.slice(0, colon), name.slice(colon + 1)) : null;
    return own ?? ((value, decimals) => `${plain(value, decimals)} ${FIXED[name] ?? name}`);
  };
  window.rectbotFormat = (value, unit, decimals) => {
    if (value === null || value === undefined || Number.isNaN(value)) return "-";
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "-∞";
    if (!known.has(unit)) known.set(unit, formatter(unit));
    return known.get(unit)(value, decimals);
  };

  // Times: one format, in the browser's zone, which stands in the long form.
  const pad = (number, length = 2) => String(number).padStart(length, "0");
  const zone = (then) => {
    const minutes = -then.getTimezoneOffset();
    const size = Math.abs(minutes);
    return `${minutes < 0 ? "-" : "+"}${pad(Math.floor(size / 60))}:${pad(size % 60)}`;
  };
  // `short`: without the date, if it is today; `ms`: with milliseconds; `zone`: with the zone.
  window.rectbotTime = (ms, options = {}) => {
    const then = new Date(ms);
    if (Number.isNaN(then.getTime())) return "-";
    const clockText = `${pad(then.getHours())}:${pad(then.getMinutes())}:${pad(then.getSeconds())}`;
    const time = options.ms ? `${clockText}.${pad(then.getMilliseconds(), 3)}` : clockText;
    const day = `${then.getFullYear()}-${pad(then.getMonth() + 1)}-${pad(then.getDate())}`;
    const today = options.short && then.toDateString() === new Date().toDateString();
    return `${today ? "" : `${day} `}${time}${options.zone ? ` ${zone(then)}` : ""}`;
  };
  // A text's parts: every other one is a moment, in seconds since 1970, which stands between two bytes of 1.
  window.rectbotParts = (words) => words.split(/\u0001(-?[\d.]+)\u0001/);
  window.rectbotZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

  window.rectbotKeep = (name, value) => {
    document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=strict`;
  };
  if (!document.cookie.includes(`rectbot_zone=${encodeURIComponent(window.rectbotZone())}`)) {
    window.rectbotKeep("rectbot_zone", encodeURIComponent(window.rectbotZone()));
  }

  // Before the toolkit is there: the theme that it will have, so that a dark page does not begin white.
  window.rectbotFirstSight = () => {
    const chosen = /(?:^|; )rectbot_theme=(\w+)/.exec(document.cookie)?.[1];
    const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    document.body.classList.toggle("body--dark", dark);
  };

  // The address holds what is looked at. The time that is looked at goes along to the other pages.
  const carry = () => {
    const own = new URLSearchParams(location.search);
    if (own.get("from")) sessionStorage.setItem("rectbot-times", `${own.get("from")} ${own.get("to") ?? "now"}`);
    const [from, to] = (sessionStorage.getItem("rectbot-times") ?? "").split(" ");
    if (!from) return;
    for (const link of document.querySelectorAll("header nav a")) {
      const target = new URL(link.href);
      if (!/^\/(d\/|logs|explore)/.test(target.pathname)) continue;
      target.searchParams.set("from", from);
      target.searchParams.set("to", to);
      link.setAttribute("href", target.pathname + target.search);
    }
  };
  // A new entry in the history, but for the first address of a page and for the one that is there already.
  window.rectbotAddress = (address, first) => {
    if (location.pathname + location.search !== address) {
      history[first ? "replaceState" : "pushState"](null, "", address);
    }
    carry();
  };
  window.addEventListener("popstate", () => emitEvent("rectbot_back", location.search));
  window.addEventListener("DOMContentLoaded", () => setTimeout(carry, 0));

  const escapes = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  window.rectbotEscape = (text) => String(text).replace(/[&<>"']/g, (letter) => escapes[letter]);

  // What the toolkit hangs at the end of the page, made plain for screen readers: an open list holds options and
  // nothing else between, and is in a region of its own.
  const PLACES = { menu: { en: "Choices", ja: "選択肢" }, notif: { en: "Messages", ja: "お知らせ" } };
  const name = (node) => {
    const kind = /^q-portal--(menu|notif)/.exec(node.id ?? "")?.[1] ?? (node.querySelector?.(".q-notifications") && "notif");
    if (!kind) return;
    node.setAttribute("role", "region");
    node.setAttribute("aria-label", PLACES[kind][document.documentElement.lang] ?? PLACES[kind].en);
    requestAnimationFrame(() => {
      for (const between of node.querySelectorAll("[role=listbox] [tabindex]:not([role=option])")) {
        between.removeAttribute("tabindex");
        between.setAttribute("role", "presentation");
      }
    });
  };
  window.addEventListener("DOMContentLoaded", () => {
    const look = (records) => records.forEach((record) => record.addedNodes.forEach(name));
    new MutationObserver(look).observe(document.body, { childList: true });
  });

  // A colour as letters on a card, and as a ground for white ones: mixed until both themes can be read (4.5 to 1).
  const plainly = (colour) => !colour || colour === "inherit" || colour === "transparent";
  window.rectbotInk = (colour) => (plainly(colour) ? colour : `color-mix(in srgb, ${colour} 60%, var(--text))`);
  window.rectbotFill = (colour) => (plainly(colour) ? colour : `color-mix(in srgb, ${colour} 70%, #000)`);

  // The tab's icon in the colour of the state.
  const colours = { good: "#15803d", warning: "#b45309", error: "#b91c1c", unknown: "#5a6472" };
  window.rectbotIcon = (tone) => {
    const link = document.querySelector("link[rel~=icon]");
    if (!link || link.dataset.tone === tone) return;
    link.dataset.tone = tone;
    const mark = tone === "unknown" ? "<text x='16' y='24' font-size='24' font-family='sans-serif' font-weight='bold' "
      + "text-anchor='middle' fill='#fff'>?</text>"
      : "<path d='M8 16h5l3-8 3 16 3-8h4' fill='none' stroke='#fff' stroke-width='2.5' stroke-linejoin='round'/>";
    const svg = `<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect width='32' height='32' rx='7' `
      + `fill='${colours[tone]}'/>${mark}</svg>`;
    link.type = "image/svg+xml";
    link.href = `data:image/svg+xml,${encodeURIComponent(svg)}`;
  };

  // Whether the server is heard. While it is not, the page shows what was, and nothing can be ordered.
  const SILENT_MS = 5000; // it says something each second
  const link = { lost: false, since: Date.now(), look: "", at: performance.now() };
  const set = (lost) => {
    if (link.lost === lost) return;
    link.lost = lost;
    if (link.lostRef) link.lostRef.value = lost;
    document.body.classList.toggle("lost", lost);
  };
  link.heard = (look) => {
    Object.assign(link, { look, since: Date.now(), at: performance.now() });
    set(false);
  };
  link.ref = () => (link.lostRef ??= Vue.ref(link.lost)); // for elements, once the toolkit is there
  window.rectbotLink = link;
  const away = () => window.socket && !window.socket.connected && window.did_handshake;
  setInterval(() => {
    if (away() || performance.now() - link.at > SILENT_MS) set(true);
    if (link.lost) ask();
  }, 250);

  // A session that has ended meanwhile lets no page back in: then to the login, and from there to this page again.
  const ASK_MS = 2000, USE_MS = 5 * 60 * 1000;
  let asked = 0, used = Date.now();
  window.rectbotLeave = () => {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  };
  const session = (method) => fetch("/session", { method, redirect: "manual", cache: "no-store" })
    .then((answer) => (answer.type === "opaqueredirect" || answer.status === 401) && window.rectbotLeave())
    .catch(() => {}); // nobody is there
  const ask = () => {
    if (performance.now() - asked < ASK_MS) return;
    asked = performance.now();
    session("GET");
  };
  const use = () => {
    if (Date.now() - used < USE_MS) return;
    used = Date.now();
    session("POST");
  };
  for (const kind of ["pointerdown", "keydown"]) window.addEventListener(kind, use, { capture: true, passive: true });
})();
