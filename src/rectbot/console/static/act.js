// A button that orders something: off while the server is not heard, and after a click until that is answered. A click
// carries what the server refuses it by when it comes late or twice: the look that the visitor saw, and a ticket.
export default {
  template: `
    <button type="button" class="act" :class="{ danger }" :disabled="off || lost || pressed" :aria-busy="pressed"
            @click="press">{{ words }}</button>`,
  props: { words: String, ticket: String, off: Boolean, danger: Boolean },
  emits: ["act"],
  data: () => ({ pressed: false }),
  computed: {
    lost: () => window.rectbotLink.ref().value,
  },
  watch: {
    ticket() {
      this.pressed = false;
    },
    lost(lost) {
      if (!lost) this.pressed = false;
    },
  },
  methods: {
    press() {
      if (this.off || this.lost || this.pressed) return;
      this.pressed = true;
      this.$emit("act", { ticket: this.ticket, look: window.rectbotLink.look });
    },
  },
};
