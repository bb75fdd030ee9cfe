// A duration that runs between the server's looks: the lease counting down, a heartbeat growing old, a moment long gone.
const SECOND_MS = 1000;

function words(seconds) {
  if (seconds < 100) return `${seconds.toFixed(1)} s`;
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= 2 * length) return `${Math.floor(seconds / length)} ${unit}`;
  }
  return `${seconds.toFixed(0)} s`;
}

export default {
  template: `
    <span class="ticker" :class="{ late: limit !== null && seconds > limit }">
      <span class="number">{{ seconds === null ? none : text }}</span>
      <span v-if="whole !== null" class="bar" aria-hidden="true"><span :style="{ width: share + '%' }"></span></span>
    </span>`,
  props: {
    seconds_at_look: { type: Number, default: null }, // as of the server's last look
    direction: { type: Number, default: 1 }, // -1 counts down
    whole: { type: Number, default: null }, // the full bar
    limit: { type: Number, default: null }, // beyond this it is marked
    none: { type: String, default: "-" },
    look: { type: Number, default: 0 },
  },
  data() {
    return { looked: performance.now(), now: performance.now() };
  },
  computed: {
    seconds() {
      if (this.seconds_at_look === null || window.rectbotLink.ref().value) return null;
      return Math.max(0, this.seconds_at_look + (this.direction * (this.now - this.looked)) / 1000);
    },
    text() {
      return words(this.seconds);
    },
    share() {
      return this.seconds === null ? 0 : Math.min(100, (100 * this.seconds) / this.whole);
    },
  },
  watch: {
    look() {
      this.looked = this.now = performance.now();
    },
  },
  mounted() {
    // The server looks once a second, and all that it says is drawn at once; only where it does not is drawn here.
    this.timer = setInterval(() => performance.now() - this.now > 0.9 * SECOND_MS && (this.now = performance.now()), SECOND_MS);
  },
  unmounted() {
    clearInterval(this.timer);
  },
};
