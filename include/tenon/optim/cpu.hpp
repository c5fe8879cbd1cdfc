#pragma once

#include <tenon/optim/adafactor_cpu.hpp>
#include <tenon/optim/adamw.hpp>
#include <tenon/optim/elementwise_cpu.hpp>
#include <tenon/optim/ema_cpu.hpp>
#include <tenon/optim/gradients.hpp>
#include <tenon/optim/lion.hpp>
#include <tenon/optim/muon_cpu.hpp>
#include <tenon/optim/norm_cpu.hpp>
#include <tenon/optim/sgd.hpp>
