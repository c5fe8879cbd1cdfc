"""Makes this folder's checkpoint, adapters as PEFT saves them, and the logits of both; or compares adapters that
tenon has saved with PEFT's own reading of them.

    make.py                       # needs torch, transformers, peft
    make.py check BASE ADAPTERS   # ADAPTERS holds logits.safetensors, too: ids [batch, time], logits
"""

import pathlib
import shutil
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

here = pathlib.Path(__file__).parent


def make():
    torch.manual_seed(7)
    config = LlamaConfig(vocab_size=11, max_position_embeddings=16, hidden_size=8, num_hidden_layers=2,
                         num_attention_heads=2, num_key_value_heads=1, intermediate_size=12,
                         initializer_range=0.4, bos_token_id=1, eos_token_id=2)
    base = LlamaForCausalLM(config)
    for name, parameter in base.named_parameters():
        if "norm" in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    base.save_pretrained(here)
    (here / "generation_config.json").unlink(missing_ok=True)
    ids = torch.randint(0, 11, (2, 9))
    model = base.double()
    with torch.no_grad():
        without = model(ids).logits
    model = get_peft_model(model, LoraConfig(r=3, lora_alpha=5, use_rslora=True, task_type="CAUSAL_LM",
                                             target_modules=["q_proj", "v_proj", "down_proj"]))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.5)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copy(pathlib.Path(folder) / name, here / name)
    model = model.double()
    with torch.no_grad():
        logits = model(ids).logits
    save_file({"ids": ids.double(), "without": without, "logits": logits}, here / "reference.safetensors")


def check(base, adapters):
    reference = load_file(f"{adapters}/logits.safetensors")
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, adapters)
    with torch.no_grad():
        logits = model(reference["ids"].long()).logits
        with model.disable_adapter():
            without = model(reference["ids"].long()).logits
    error = (logits - reference["logits"]).abs().max().item()
    print(f"greatest difference {error:.3g}, what the adapters change {(logits - without).abs().max().item():.3g}")
    assert error < 1e-5


if __name__ == "__main__":
    check(*sys.argv[2:]) if len(sys.argv) > 1 else make()
