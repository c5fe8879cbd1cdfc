"""Makes this folder's checkpoints, adapters as PEFT saves them, and the logits of both; or compares adapters that
tenon has saved with PEFT's own reading of them.

    make.py                       # needs torch, transformers, peft
    make.py check BASE ADAPTERS   # ADAPTERS holds logits.safetensors, too: ids [batch, time], logits
"""

import json
import pathlib
import shutil
import sys
import tempfile

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, MixtralConfig,
                          MixtralForCausalLM)

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


def make_mixture():
    """A Mixtral; adapters at its head, embedding, routers and at the tensors of all experts, and adapters as they
    were saved when each expert had layers of its own."""
    torch.manual_seed(8)
    folder = here / "mixture"
    config = MixtralConfig(vocab_size=11, max_position_embeddings=16, hidden_size=8, num_hidden_layers=2,
                           num_attention_heads=2, num_key_value_heads=1, intermediate_size=6, num_local_experts=3,
                           num_experts_per_tok=2, initializer_range=0.4, bos_token_id=1, eos_token_id=2)
    config._experts_implementation = "eager"  # which computes in f64, too
    base = MixtralForCausalLM(config)
    base.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    ids = torch.randint(0, 11, (2, 9))
    reference = {"ids": ids.double()}
    model = get_peft_model(base, LoraConfig(
        r=2, lora_alpha=3, task_type="CAUSAL_LM", target_modules=["q_proj", "lm_head", "embed_tokens"],
        target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj", "mlp.gate.weight"]))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.25)
    (folder / "joined").mkdir(exist_ok=True)
    model.save_pretrained(folder / "joined")
    with torch.no_grad():
        reference["joined"] = model.double()(ids).logits

    rank, numbered = 2, {}
    for layer in range(2):
        block = f"base_model.model.model.layers.{layer}.block_sparse_moe"
        layers = {f"{block}.gate": (3, 8)}
        for expert in range(3):
            for name, shape in {"w1": (6, 8), "w3": (6, 8), "w2": (8, 6)}.items():
                layers[f"{block}.experts.{expert}.{name}"] = shape
        for name, (outputs, inputs) in layers.items():
            numbered[f"{name}.lora_A.weight"] = 0.25 * torch.randn(rank, inputs)
            numbered[f"{name}.lora_B.weight"] = 0.25 * torch.randn(outputs, rank)
    (folder / "numbered").mkdir(exist_ok=True)
    save_file(numbered, folder / "numbered" / "adapter_model.safetensors", {"format": "pt"})
    (folder / "numbered" / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 5, "lora_dropout": 0.0,
         "bias": "none", "target_modules": ["gate", "w1", "w2", "w3"]}, indent=2))
    base = AutoModelForCausalLM.from_pretrained(folder, experts_implementation="eager")
    model = PeftModel.from_pretrained(base, folder / "numbered")
    with torch.no_grad():
        reference["numbered"] = model.double()(ids).logits
        with model.disable_adapter():
            reference["without"] = model(ids).logits
    for form in ("joined", "numbered"):
        (folder / form / "README.md").unlink(missing_ok=True)
    save_file(reference, folder / "reference.safetensors")


def check(base, adapters):
    reference = load_file(f"{adapters}/logits.safetensors")
    config = AutoConfig.from_pretrained(base)
    config._experts_implementation = "eager"  # which takes any extents
    model = AutoModelForCausalLM.from_pretrained(base, config=config, dtype=torch.float32)
    model = PeftModel.from_pretrained(model, adapters)
    with torch.no_grad():
        logits = model(reference["ids"].long()).logits
        with model.disable_adapter():
            without = model(reference["ids"].long()).logits
    error = (logits - reference["logits"]).abs().max().item()
    print(f"greatest difference {error:.3g}, what the adapters change {(logits - without).abs().max().item():.3g}")
    assert error < 1e-5


if __name__ == "__main__":
    if len(sys.argv) > 1:
        check(*sys.argv[2:])
    else:
        make()
        make_mixture()
