"""The ten tasks in pyvene."""

import pyvene
import torch
from transformers import AutoTokenizer, GPT2LMHeadModel


def load(name):
    model = GPT2LMHeadModel.from_pretrained(name, attn_implementation="eager")
    return model.eval(), AutoTokenizer.from_pretrained(name)


def read_logits(loaded, prompt):
    model, tokenizer = loaded
    output = model(**tokenizer(prompt, return_tensors="pt"))
    return output.logits[0, -1]


def residual_streams(loaded, prompt):
    model, tokenizer = loaded
    inputs = tokenizer(prompt, return_tensors="pt")
    length, layers = inputs["input_ids"].shape[1], range(model.config.n_layer)
    places = [
        {
            "layer": layer,
            "component": "block_output",
            "max_number_of_units": length,
            "intervention_type": pyvene.CollectIntervention,
        }
        for layer in layers
    ]
    intervenable = pyvene.IntervenableModel(places, model)
    positions = {"base": [[list(range(length))] for _ in layers]}
    (_, collected), _ = intervenable(inputs, unit_locations=positions)
    return torch.cat(collected)


def zero_head(loaded, prompt, layer, head):
    model, tokenizer = loaded
    place = {
        "layer": layer,
        "component": "head_attention_value_output",
        "unit": "h",
        "intervention_type": pyvene.ZeroIntervention,
    }
    intervenable = pyvene.IntervenableModel(place, model)
    inputs = tokenizer(prompt, return_tensors="pt")
    _, output = intervenable(inputs, unit_locations={"base": head})
    return output.logits[0, -1]


def zero_keys(loaded, prompt, layer, head):
    model, tokenizer = loaded
    place = {
        "layer": layer,
        "component": "head_key_output",
        "unit": "h",
        "intervention_type": pyvene.ZeroIntervention,
    }
    intervenable = pyvene.IntervenableModel(place, model)
    inputs = tokenizer(prompt, return_tensors="pt")
    _, output = intervenable(inputs, unit_locations={"base": head})
    return output.logits[0, -1]


def mean_ablate_mlp(loaded, prompt, layer):
    def average(base, source):
        return base.mean(dim=1, keepdim=True).expand_as(base)

    model, tokenizer = loaded
    place = {"layer": layer, "component": "mlp_output", "intervention": average}
    intervenable = pyvene.IntervenableModel(place, model)
    _, output = intervenable(tokenizer(prompt, return_tensors="pt"))
    return output.logits[0, -1]


def steer(loaded, prompt, vector, layer, coefficient):
    model, tokenizer = loaded
    place = {
        "layer": layer,
        "component": "block_input",
        "intervention_type": pyvene.AdditionIntervention,
        "source_representation": coefficient * torch.as_tensor(vector),
    }
    intervenable = pyvene.IntervenableModel(place, model)
    _, output = intervenable(tokenizer(prompt, return_tensors="pt"))
    return output.logits[0, -1]


def patch_residual(loaded, prompt, source, layer, position):
    model, tokenizer = loaded
    place = {
        "layer": layer,
        "component": "block_input",
        "intervention_type": pyvene.VanillaIntervention,
    }
    intervenable = pyvene.IntervenableModel(place, model)
    base, donor = (tokenizer(text, return_tensors="pt") for text in (prompt, source))
    _, output = intervenable(base, [donor], unit_locations={"sources->base": position})
    return output.logits[0, -1]


def scale_block(loaded, prompt, factor, layer):
    model, tokenizer = loaded
    place = {
        "layer": layer,
        "component": "block_output",
        "intervention": lambda base, source: factor * base,
    }
    intervenable = pyvene.IntervenableModel(place, model)
    _, output = intervenable(tokenizer(prompt, return_tensors="pt"))
    return output.logits[0, -1]


def attention_pattern(loaded, prompt, layer):
    model, tokenizer = loaded
    place = {
        "layer": layer,
        "component": "attention_weight",
        "intervention_type": pyvene.CollectIntervention,
    }
    intervenable = pyvene.IntervenableModel(place, model)
    (_, collected), _ = intervenable(tokenizer(prompt, return_tensors="pt"))
    return collected[0][0]


def head_sweep(loaded, prompt, answer, wrong):
    model, tokenizer = loaded
    (answer,), (wrong,) = (tokenizer.encode(word) for word in (answer, wrong))
    differences = torch.empty(model.config.n_layer, model.config.n_head)
    for layer in range(model.config.n_layer):
        for head in range(model.config.n_head):
            logits = zero_head(loaded, prompt, layer, head)
            differences[layer, head] = logits[answer] - logits[wrong]
    return differences
