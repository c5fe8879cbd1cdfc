#include "train.hpp"

int main() {
    train<64>();
    train<96>();
}
