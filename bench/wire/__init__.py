"""What a gateway costs: rbee with every feature on, beside nginx, a Rust router and LiteLLM.

`engine.c` answers and `load.c` asks, both cheap enough not to be what is measured.
"""
